// What a Go program pays for what Host.list() gives, by Xen's own binding: all domains, each with its name.
// For each line of input one round; it prints the nanoseconds it took and the number of names.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"time"

	"xenbits.xenproject.org/git-http/xen.git/tools/golang/xenlight"
)

func main() {
	ctx, err := xenlight.NewContext()
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		start := time.Now()
		names := 0
		for _, domain := range ctx.ListDomain() {
			if ctx.DomidToName(domain.Domid) != "" {
				names++
			}
		}
		fmt.Println(time.Since(start).Nanoseconds(), names)
	}
	if err := ctx.Close(); err != nil {
		log.Fatal(err)
	}
}
