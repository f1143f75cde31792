#!/bin/sh
# Programs of others that judge what we deliver or stand in its way, into the directory named. Only the programs are
# taken out of Debian's packages: to install those would start services. Tests that want one that is not there say so.
set -u
cd "$1" || exit 1

fetch() { # PROGRAM FILES PACKAGE...
    program=$1 files=$2
    shift 2
    command -v "$program" > /dev/null && return
    echo "Fetching $program from Debian's package $1"
    for package in "$@"; do
        # not every file is in each of them
        apt-get -qq download "$package" && dpkg-deb --fsys-tarfile "$package"_*.deb |
            (set -f; tar -x --strip-components=3 --wildcards $files)
        rm -f "$package"_*.deb
    done > /dev/null 2>&1
    [ -x "$program" ] || echo "$program could not be fetched: its tests are skipped"
}

{ [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; } || exit 0
if ! { command -v promtool && command -v logrotate && command -v pgbouncer; } > /dev/null; then
    apt-get -qq update > /dev/null 2>&1
fi
fetch promtool ./usr/bin/promtool prometheus
fetch pgbouncer './usr/sbin/pgbouncer ./usr/lib/*/libevent-2*.so* ./usr/lib/*/libcares.so*' pgbouncer libevent-2.1-7 libc-ares2
fetch logrotate './usr/sbin/logrotate ./usr/lib/*/libpopt.so*' logrotate libpopt0
