#!/usr/bin/env bash
# Makes the lab's two needs true on a Debian machine: the tools (QEMU with igb, and the small programs
# that lab tests call) and a stock Debian kernel, unpacked in the cache and not installed.
#
# Safe to run at any time: it looks first, and does nothing and takes no time when all is there. The
# system's own apt sources are not changed; a suite that they lack (backports) is read through sources
# and package lists of our own in the cache, from the mirror that the system already uses.
#
# "deps.sh prometheus" unpacks Debian's prometheus and promtool instead, into .cache/prometheus. They are
# not installed, because the package starts a service.
#
# BONDKEEPER_LAB_CACHE sets another cache directory than .cache/lab at the top of the repository.
# BONDKEEPER_LAB_KERNEL selects another kernel than 6.12: 5.10, 6.1 or newest (kernel.go has the same names).
# BONDKEEPER_LAB_CARDS=virtio also unpacks QEMU 11 in the cache, which has VFs of virtio-net.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
cache=${BONDKEEPER_LAB_CACHE:-$top/.cache/lab}
series=${BONDKEEPER_LAB_KERNEL:-6.12}
kernel=$cache/kernel
[ "$series" = 6.12 ] || kernel=$cache/kernel-$series
cards=${BONDKEEPER_LAB_CARDS:-igb}
qemu11=$cache/qemu11

# One line a tool: a program, and the package that has it.
tools="
qemu-system-x86_64 qemu-system-x86
ip iproute2
modprobe kmod
xz xz-utils
ping iputils-ping
arping iputils-arping
ps procps
ethtool ethtool
tcpdump tcpdump
jq jq
nsenter util-linux
dnsmasq dnsmasq-base
runc runc
busybox busybox-static
"

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Programs such as modprobe live in sbin, which is not in every user's PATH.
PATH=$PATH:/usr/sbin:/sbin

# has_igb answers whether the QEMU found here has the SR-IOV card; Debian 12's own (7.2) has not.
# The version is asked for, not the list of devices: the list takes 50 ms more on every run.
has_igb() {
    local version
    version=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p')
    [ "${version:-0}" -ge 8 ]
}

# missing_packages prints the packages whose program is not there. There is a busybox that is not static.
missing_packages() {
    local program package
    while read -r program package; do
        [ -n "$program" ] || continue
        if ! command -v "$program" >/dev/null || { [ "$package" = qemu-system-x86 ] && ! has_igb; } ||
            { [ "$package" = busybox-static ] && ldd "$(command -v busybox)" >/dev/null 2>&1; }; then
            echo "$package"
        fi
    done <<<"$tools"
}

# kernel_ready answers whether an unpacked kernel is in the cache, whichever version it has: a newer one
# in the archive is no reason to download again.
kernel_ready() { [ -e "$kernel/vmlinuz" ] && [ -d "$kernel/modules/kernel" ]; }

# qemu_ready answers whether the selected cards need no other QEMU than the installed one, or it is in the cache.
qemu_ready() {
    case $cards in
    igb) ;;
    virtio) [ -x "$qemu11/qemu-system-x86_64" ] ;;
    *) die "BONDKEEPER_LAB_CARDS=$cards: want igb or virtio" ;;
    esac
}

# privileged runs a command as root.
privileged() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        sudo "$@"
    else
        return 126
    fi
}

# apt options which put our own sources and lists in the place of the system's.
apt_private=(
    -o "Dir::Etc::sourcelist=$cache/apt/lab.sources"
    -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$cache/apt/lists"
    -o "Dir::Cache::pkgcache="
    -o "Dir::Cache::srcpkgcache="
    -o DPkg::Lock::Timeout=120
    -o APT::Get::List-Cleanup=0
)

# archive_site prints the site from which the system takes Debian's release itself.
archive_site() {
    # shellcheck disable=SC2016 # the $(NAME)s are apt's
    apt-get "$@" indextargets --format '$(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk -v c="$codename" '$2 == c && $3 == "main" { print $1; exit }'
}

# write_sources writes the private sources file: the release's own suites and, for Debian 12, backports.
write_sources() {
    local site suites
    site=$(archive_site)
    if [ -z "$site" ]; then
        # A fresh container image has sources but no lists, and apt then names no target.
        say "reading the package lists of the system's sources"
        apt-get -qq -o "Dir::State::lists=$cache/apt/lists" "${apt_as_user[@]}" update >&2 ||
            die "apt-get update failed; see above"
        site=$(archive_site -o "Dir::State::lists=$cache/apt/lists")
    fi
    [ -n "$site" ] || die "no apt source on this machine names Debian $codename main; add one and run again"
    suites=$codename
    [ "$codename" != bookworm ] || suites="bookworm bookworm-updates bookworm-backports"
    [[ " $suites " == *" $(kernel_suite) "* ]] || suites+=" $(kernel_suite)"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$site" "$suites" >"$cache/apt/lab.sources"
}

# prepare_apt makes the private sources and lists, once a run.
prepared=
prepare_apt() {
    [ -z "$prepared" ] || return 0
    command -v apt-get >/dev/null || die "this is no Debian machine: install $(missing_packages | tr '\n' ' ')by hand (QEMU 8 or newer)," \
        "put into $kernel: a kernel as vmlinuz, its /lib/modules/RELEASE as modules, its RELEASE in version"
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mkdir -p "$cache/apt/lists/partial"
    apt_as_user=()
    # apt's own download user cannot enter a private directory; the packages are verified by key either way.
    [ "$(id -u)" -ne 0 ] || apt_as_user=(-o APT::Sandbox::User=root)
    write_sources "$codename"
    say "reading the package lists of $(sed -n 's/^Suites: //p' "$cache/apt/lab.sources")"
    apt-get -qq "${apt_private[@]}" "${apt_as_user[@]}" update >&2 || die "apt-get update failed; see above"
    prepared=yes
}

# target prints the suite that packages newer than the release are taken from.
target() { if [ "$codename" = bookworm ]; then echo bookworm-backports; else echo "$codename"; fi; }

# kernel_suite prints the suite that has the selected kernel.
kernel_suite() {
    case $series in
    5.10) echo bullseye ;;
    6.1) echo bookworm ;;
    6.12) target ;;
    newest) echo trixie-backports ;;
    *) die "BONDKEEPER_LAB_KERNEL=$series: want 5.10, 6.1, 6.12 or newest" ;;
    esac
}

install_packages() {
    local packages=("$@") rc=0
    prepare_apt
    say "installing ${packages[*]}"
    privileged env DEBIAN_FRONTEND=noninteractive apt-get -qq -y "${apt_private[@]}" "${apt_as_user[@]}" \
        -o Dpkg::Use-Pty=0 -t "$(target)" install --no-install-recommends "${packages[@]}" >&2 || rc=$?
    [ "$rc" -ne 126 ] || die "${packages[*]}: missing, and this user may not install packages; as root, run:" \
        "apt-get ${apt_private[*]} -t $(target) install --no-install-recommends ${packages[*]}"
    [ "$rc" -eq 0 ] || die "apt-get install failed; see above"
}

# kernel_packages prints the real kernel packages behind Debian's linux-image-amd64: one, or since 7.3 the image and the
# packages that it depends on, with the binary, the modules and their lists.
kernel_packages() {
    local image
    image=$(depends linux-image-amd64 | grep -m 1 '^linux-image-')
    [ -n "$image" ] || return 0
    echo "$image"
    depends "$image" | grep -E '^linux-(base|binary|modules)-[0-9]' || true
}

# depends prints the names of the packages that a package depends on.
depends() {
    apt-cache "${apt_private[@]}" show "$1/$(kernel_suite)" | sed -n '/^Depends: /{s///;p;q}' | tr ',|' '\n\n' | awk '{ print $1 }'
}

# unpack_prometheus puts the two programs under their final names only when they are complete.
unpack_prometheus() {
    local work=$cache/prometheus.new to=$top/.cache/prometheus
    prepare_apt
    rm -rf "$work" && mkdir -p "$work/root" "$to"
    say "downloading prometheus"
    (cd "$work" && apt-get -qq "${apt_private[@]}" "${apt_as_user[@]}" download prometheus >&2) ||
        die "the download of prometheus failed; see above"
    dpkg -x "$work"/prometheus_*.deb "$work/root"
    mv "$work/root/usr/bin/promtool" "$work/root/usr/bin/prometheus" "$to"
    rm -rf "$work"
}

# unpack_kernel downloads the kernel and puts it under its final name only when it is complete.
unpack_kernel() {
    local packages work version modules package
    prepare_apt
    packages=$(kernel_packages)
    [ -n "$packages" ] || die "the archive has no linux-image-amd64 in $(kernel_suite)"
    work=$kernel.new
    rm -rf "$work" && mkdir -p "$work/root"
    for package in $packages; do
        say "downloading $package"
        (cd "$work" && apt-get -qq "${apt_private[@]}" "${apt_as_user[@]}" download "$package/$(kernel_suite)" >&2) ||
            die "the download of $package failed; see above"
    done
    say "unpacking" $packages
    for package in "$work"/linux-*.deb; do dpkg -x "$package" "$work/root"; done
    # Debian 7.3 has the kernel, and since Debian 13 the modules, under /usr/lib; depmod looks in /lib.
    modules=$(find "$work/root" -type d -path '*/lib/modules/*' -prune | head -n 1)
    version=$(basename "$modules")
    [ -d "$work/root/lib/modules" ] || ln -s usr/lib "$work/root/lib"
    depmod -b "$work/root" "$version"
    mkdir "$work/ready"
    mv "$(kernel_file vmlinuz)" "$work/ready/vmlinuz"
    mv "$(kernel_file config)" "$work/ready/config"
    mv "$modules" "$work/ready/modules"
    echo "$version" >"$work/ready/version"
    rm -rf "$kernel"
    mv "$work/ready" "$kernel"
    rm -rf "$work"
}

# unpack_qemu downloads QEMU 11 with all its libraries, as for a machine on which nothing is installed, and puts it under
# its final name only when it is complete. Only the wrapper uses these libraries.
unpack_qemu() {
    local work=$qemu11.new package apt
    prepare_apt
    rm -rf "$work" && mkdir -p "$work"/apt/{lists,archives}/partial "$work/ready"
    touch "$work/apt/status"
    sed 's/^Suites: .*/Suites: trixie trixie-backports/' "$cache/apt/lab.sources" >"$work/apt/lab.sources"
    apt=(apt-get -qq -y "${apt_private[@]}" "${apt_as_user[@]}" -o "Dir::Etc::sourcelist=$work/apt/lab.sources" -o Debug::NoLocking=1
        -o "Dir::State=$work/apt" -o "Dir::State::lists=$work/apt/lists" -o "Dir::State::status=$work/apt/status" -o "Dir::Cache=$work/apt")
    say "downloading QEMU of trixie-backports"
    "${apt[@]}" update >&2 || die "apt-get update failed; see above"
    "${apt[@]}" -t trixie-backports --no-install-recommends --download-only install qemu-system-x86 >&2 ||
        die "the download of QEMU failed; see above"
    say "unpacking QEMU"
    for package in "$work"/apt/archives/*.deb; do dpkg -x "$package" "$work/ready"; done
    cat >"$work/ready/qemu-system-x86_64" <<'EOF'
#!/bin/sh
# Runs the QEMU of this directory with the libraries of this directory.
root=$(dirname "$(readlink -f "$0")") lib=usr/lib/x86_64-linux-gnu
exec "$root/$lib/ld-linux-x86-64.so.2" --library-path "$root/$lib:$root/$lib/pulseaudio" "$root/usr/bin/qemu-system-x86_64" \
    -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
EOF
    chmod +x "$work/ready/qemu-system-x86_64"
    rm -rf "$qemu11"
    mv "$work/ready" "$qemu11"
    rm -rf "$work"
}

# lock: one at a time; the second finds the first one's work done.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/deps.lock"
    flock 9
}

prometheus() {
    lock
    [ -x "$top/.cache/prometheus/prometheus" ] || unpack_prometheus
}

# kernel_file prints the path of an unpacked vmlinuz or config: in /boot, or with the modules.
kernel_file() {
    local path
    for path in "$work/root/boot/$1-$version" "$modules/$1"; do
        [ ! -e "$path" ] || { echo "$path"; return; }
    done
    die "the packages of kernel $version have no $1"
}

main() {
    local packages
    packages=$(missing_packages)
    if [ -n "$packages" ] || ! kernel_ready || ! qemu_ready; then
        lock
        packages=$(missing_packages)
    fi
    # shellcheck disable=SC2086 # a list of words
    [ -z "$packages" ] || install_packages $packages
    kernel_ready || unpack_kernel
    qemu_ready || unpack_qemu
    [ "$cards" != virtio ] || PATH=$qemu11:$PATH
    say "ready: $(qemu-system-x86_64 --version | head -n 1), kernel $(cat "$kernel/version")"
}

case ${1:-} in
'') main ;;
prometheus) prometheus ;;
*) die "unknown argument: $1" ;;
esac
