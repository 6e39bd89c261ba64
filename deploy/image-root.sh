#!/usr/bin/env bash
# Lays out the root of an image for one program: itself, the libraries it is linked with, certificates of public
# authorities, and the names of two users. Used by deploy/Dockerfile.
#
#   deploy/image-root.sh PROGRAM FOLDER
set -euo pipefail

program=$1
root=$2

# Debian's /lib is a link to /usr/lib: what is copied keeps its real place, and the link is made again.
mkdir -p "$root"/{etc,proc,sys,dev,run,tmp,usr/bin,usr/lib}
chmod 1777 "$root/tmp"
for folder in bin lib lib64 sbin; do
    [[ -L /$folder ]] && cp -P "/$folder" "$root/$folder"
done
mkdir -p "$root/usr/lib64"

copy() {
    local file real
    file=$1
    real=$(readlink -f "$file")
    # Under the name the loader asks for, beside its neighbours.
    install -D -m 755 "$real" "$root$(readlink -f "$(dirname "$file")")/$(basename "$file")"
}

copy "$program"
ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
    copy "$library"
done

authorities=/etc/ssl/certs/ca-certificates.crt
if [[ -e $authorities ]]; then
    install -D -m 644 "$authorities" "$root$authorities"
fi
printf 'root:x:0:0:root:/:/sbin/nologin\npgmend:x:65532:65532:pgmend:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\npgmend:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
