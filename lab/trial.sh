# For dom0 of a machine that runs on KVM: a guest of each type must come up, two of them side by side.
# The last line that it prints says what failed.

guests=/usr/share/pyxen-guests

fail() {
    echo "$1"
    exit 1
}

create() { # NAME LINE...
    name=$1
    shift
    printf '%s\n' "name=\"$name\"" "$@" >"/tmp/$name.cfg"
    timeout 60 xl create "/tmp/$name.cfg" || fail "a guest of type $name is not created"
}

ready() { # NAME LOG
    tries=0
    until grep -q 'pyxen-guest ready' "$2" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || fail "a guest of type $1 does not come up"
        sleep 1
    done
}

case $(xl info virt_caps) in
*hvm*) ;;
*) fail "Xen finds no hardware virtualisation" ;;
esac
create hvm 'type="hvm"' memory=32 vnc=0 'serial="file:/tmp/hvm.log"' "disk=[\"$guests/tiny-hvm.img,raw,xvda,w\"]"
create pvh 'type="pvh"' memory=160 "kernel=\"$guests/vmlinux\"" "ramdisk=\"$guests/initramfs\""
create pv 'type="pv"' memory=4 "kernel=\"$guests/tiny-pv\"" 'extra="willing"'
ready hvm /tmp/hvm.log
ready pvh /var/log/xen/guest-pvh.log
ready pv /var/log/xen/guest-pv.log
