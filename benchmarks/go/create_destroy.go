// What a Go program pays for creating and destroying a paused domain, by Xen's own binding.
// The argument is the guest's kernel. For each line of input one round; it prints the nanoseconds that create and
// destroy took.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"time"

	"xenbits.xenproject.org/git-http/xen.git/tools/golang/xenlight"
)

func config(kernel string) (*xenlight.DomainConfig, error) {
	created, err := xenlight.NewDomainCreateInfo()
	if err != nil {
		return nil, err
	}
	built, err := xenlight.NewDomainBuildInfo(xenlight.DomainTypePvh)
	if err != nil {
		return nil, err
	}
	created.Type = xenlight.DomainTypePvh
	created.Name = "bench"
	built.MaxVcpus = 1
	built.MaxMemkb = 8192
	built.TargetMemkb = 8192
	built.ShadowMemkb = 1024
	built.Kernel = kernel
	return &xenlight.DomainConfig{CInfo: *created, BInfo: *built}, nil
}

func main() {
	ctx, err := xenlight.NewContext()
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		start := time.Now()
		bench, err := config(os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		domid, err := ctx.DomainCreateNew(bench)
		if err != nil {
			log.Fatal(err)
		}
		created := time.Now()
		if err := ctx.DomainDestroy(domid); err != nil {
			log.Fatal(err)
		}
		fmt.Println(created.Sub(start).Nanoseconds(), time.Since(created).Nanoseconds())
	}
	if err := ctx.Close(); err != nil {
		log.Fatal(err)
	}
}
