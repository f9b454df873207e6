#!/bin/sh
# Turn a tree of unpacked packages into dom0's file system: what the maintainer scripts would have done, and no more.
# Run by root, by lab/rootfs.py:  finish.sh TREE DOM0_FILES MODULE...
set -eu
tree=$1 files=$2
shift 2

in_tree() { chroot "$tree" env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 "$@"; }

# --- accounts, alternatives, links
ln -sf dash "$tree/usr/bin/sh"
cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
cp "$tree/usr/share/libc-bin/nsswitch.conf" "$tree/etc/nsswitch.conf"
ln -sf gawk "$tree/usr/bin/awk"                      # vif-bridge exits with 127 without it
ln -sf which.debianutils "$tree/usr/bin/which"
ln -sf /proc/self/mounts "$tree/etc/mtab"
rm -rf "$tree/var/run" "$tree/var/lock"  # the package ships a directory; libvirtd would be unreachable there
ln -s /run "$tree/var/run"
ln -s /run/lock "$tree/var/lock"
mkdir -p "$tree/proc" "$tree/sys" "$tree/run" "$tree/tmp" "$tree/root" "$tree/mnt" "$tree/srv" "$tree/usr/local/sbin" "$tree/usr/local/bin" \
    "$tree/var/log/xen" "$tree/var/log/libvirt" "$tree/var/lib/xen" "$tree/var/lib/xenstored" "$tree/var/lib/libvirt" \
    "$tree/usr/share/pyxen-guests"
chmod 1777 "$tree/tmp"
echo dom0 > "$tree/etc/hostname"
printf '127.0.0.1 localhost dom0\n::1 localhost\n' > "$tree/etc/hosts"
printf '%s\n' 'PS1="dom0:\w# "' "alias ll='ls -l'" > "$tree/root/.bashrc"

# --- LVM without udev
mkdir -p "$tree/etc/lvm"
cat > "$tree/etc/lvm/lvmlocal.conf" <<'CONF'
activation { udev_sync=0 udev_rules=0 monitoring=0 }
devices { obtain_device_list_from_udev=0 }
CONF

# --- libvirt: the drivers for Xen and for devices only; QEMU's emulation has no `sep`, which libvirt takes for a broken
# processor
find "$tree/usr/lib/x86_64-linux-gnu/libvirt" -name 'libvirt_driver_*.so' ! -name 'libvirt_driver_libxl.so' \
    ! -name 'libvirt_driver_nodedev.so' -delete
sed -i "/name='sep'/d" "$tree/usr/share/libvirt/cpu_map/x86_qemu64.xml"

# Also for other machines, which is to say ours: see Lab.forward.
printf '%s\n' 'listen_tls = 0' 'listen_tcp = 1' 'auth_tcp = "none"' >> "$tree/etc/libvirt/libvirtd.conf"

# --- ssh, for root with the key that is in the image: from dom0 to itself, and from outside
echo 'sshd:x:101:65534::/run/sshd:/usr/sbin/nologin' >> "$tree/etc/passwd"
mkdir -p -m 700 "$tree/root/.ssh"
mkdir -p "$tree/etc/ssh"
printf '%s\n' 'PermitRootLogin prohibit-password' 'PasswordAuthentication no' 'UsePAM no' 'UseDNS no' \
    'MaxStartups 100' 'HostKey /etc/ssh/ssh_host_ed25519_key' > "$tree/etc/ssh/sshd_config"
in_tree ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
in_tree ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp "$tree/root/.ssh/id_ed25519.pub" "$tree/root/.ssh/authorized_keys"
printf 'dom0,localhost %s\n' "$(cat "$tree/etc/ssh/ssh_host_ed25519_key.pub")" > "$tree/root/.ssh/known_hosts"

# --- our own programs
install -m 755 "$files/init" "$tree/usr/sbin/lab-init"
install -m 755 "$files/agent.py" "$tree/usr/sbin/lab-agent"
install -m 755 "$files/lab-libvirtd" "$files/lab-sshd" "$tree/usr/local/sbin"
install -m 755 "$files/pyxen" "$tree/usr/local/bin"
echo /root/pyxen/src > "$tree/usr/lib/python3/dist-packages/pyxen-checkout.pth"

# --- a CD that boots to a menu, as an installer's does
mkdir -p "$tree/tmp/cd/boot/grub"
cp "$files/../guests/installer.cfg" "$tree/tmp/cd/boot/grub/grub.cfg"
in_tree grub-mkrescue --locales= --fonts= --themes= --install-modules="normal echo" \
    -o /usr/share/pyxen-guests/installer.iso /tmp/cd
rm -r "$tree/tmp/cd"

# --- kernel modules: the wanted ones and what they need, uncompressed
version=$(ls "$tree/usr/lib/modules")
modules=$tree/usr/lib/modules/$version
in_tree depmod "$version"
for module in "$@"; do
    in_tree modprobe -S "$version" --show-depends "$module"
done | sed -n "s|^insmod .*/lib/modules/$version/\([^ ]*\).*|\1|p" | sort -u > "$modules/kept"
(cd "$modules" && xargs -a kept cp --parents -t "$(mkdir -p only && echo only)")
rm -rf "$modules/kernel"
mv "$modules/only/kernel" "$modules/kernel"
rm -r "$modules/only" "$modules/kept"
find "$modules" -name '*.ko.xz' -exec xz -d {} +
in_tree depmod "$version"

# --- what is never used in dom0
rm -rf "$tree/usr/lib/udev/hwdb.d" "$tree/usr/lib/udev/hwdb.bin" "$tree/usr/share/zoneinfo" "$tree/usr/lib/systemd" \
    "$tree/usr/lib/klibc" "$tree/usr/share/gtk-doc" "$tree/usr/share/bash-completion"
find "$tree/usr/share/qemu" \( -name '*ppc*' -o -name '*sparc*' -o -name 'hppa*' -o -name 'palcode*' -o -name '*.dtb' \
    -o -name 'npcm*' -o -name 's390*' -o -name 'opensbi*' -o -name 'skiboot*' -o -name 'u-boot*' \) -delete

# --- done natively, since it would be slow under emulation
in_tree ldconfig
in_tree python3 -m compileall -q -j 2 /usr/lib/python3 "/usr/lib/$(readlink "$tree/usr/bin/python3")"
