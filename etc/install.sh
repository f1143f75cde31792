#!/bin/sh
# What `make install` does. PREFIX, DESTDIR, SYSCONFDIR, LOCALSTATEDIR, RUNSTATEDIR, SERVICE_USER and PYTHON come from it.
#     etc/install.sh program    the environment under PREFIX/lib/queuemaster and the command in PREFIX/bin
#     etc/install.sh files      service files, configuration, documentation
# Configuration files are never overwritten; the new versions lie in PREFIX/share/queuemaster for comparison.
set -eu

cd "$(dirname "$0")/.."
case "$PREFIX$SYSCONFDIR$LOCALSTATEDIR$RUNSTATEDIR$DESTDIR" in
    *[[:space:]\|\&]*)
        echo "install: a blank, | or & in PREFIX or one of the other paths is not supported" >&2
        exit 1
        ;;
esac
for path in "$PREFIX" "$SYSCONFDIR" "$LOCALSTATEDIR" "$RUNSTATEDIR"; do
    case "$path" in
        /*) ;;
        *)
            echo "install: '$path' is not an absolute path" >&2
            exit 1
            ;;
    esac
done
SHARE=$PREFIX/share

program() {
    home=$DESTDIR$PREFIX/lib/queuemaster
    echo "Installing into $home"
    # a build leaves files beside its sources that the next one would pick up
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    cp -R setup.cfg pyproject.toml README.md LICENSE MANIFEST.in supervisor workers "$sources"
    # brought up to date in place: a service may be running from it
    "$PYTHON" -m venv "$home"
    "$home/bin/python" -m pip --disable-pip-version-check -qq install --upgrade "$sources[service]"
    mkdir -p "$DESTDIR$PREFIX/bin"
    # by its module, for the first line of the command that pip makes would name DESTDIR;
    # -I: the current directory must not provide modules of the service
    printf '#!/bin/sh\nexec "%s/lib/queuemaster/bin/python" -I -m queuemaster "$@"\n' "$PREFIX" \
        > "$DESTDIR$PREFIX/bin/queuemaster"
    chmod 755 "$DESTDIR$PREFIX/bin/queuemaster"
}

# put MODE FILE TARGET: install a file, with the paths of this installation in it
put() {
    mkdir -p "$DESTDIR$(dirname "$3")"
    sed -e "s|/usr/local/bin/queuemaster|$PREFIX/bin/queuemaster|g" \
        -e "s|/etc/queuemaster/|$SYSCONFDIR/queuemaster/|g" \
        -e "s|/etc/default/queuemaster|$SYSCONFDIR/default/queuemaster|g" \
        -e "s|/var/lib/queuemaster|$LOCALSTATEDIR/lib/queuemaster|g" \
        -e "s|/var/log/queuemaster|$LOCALSTATEDIR/log/queuemaster|g" \
        -e "s|/run/queuemaster/|$RUNSTATEDIR/queuemaster/|g" \
        -e "s/^\(User\|Group\)=queuemaster$/\1=${SERVICE_USER:-queuemaster}/" \
        -e "s/^RUN_AS=queuemaster$/RUN_AS=$SERVICE_USER/" "$2" > "$DESTDIR$3.new"
    chmod "$1" "$DESTDIR$3.new"
    mv "$DESTDIR$3.new" "$DESTDIR$3"
}

# keep FILE TARGET: likewise, unless TARGET exists
keep() {
    if [ -e "$DESTDIR$2" ]; then
        echo "kept as it is: $DESTDIR$2"
    else
        put 644 "$1" "$2"
    fi
}

files() {
    keep etc/queuemaster.conf "$SYSCONFDIR/queuemaster/queuemaster.conf"
    keep etc/prometheus-rules.yml "$SYSCONFDIR/queuemaster/prometheus-rules.yml"
    keep etc/queuemaster.default "$SYSCONFDIR/default/queuemaster"
    keep etc/queuemaster.logrotate "$SYSCONFDIR/logrotate.d/queuemaster"
    put 755 etc/queuemaster.init "$SYSCONFDIR/init.d/queuemaster"
    units=$PREFIX/lib/systemd/system
    [ "$PREFIX" != /usr ] || units=/lib/systemd/system
    put 644 etc/queuemaster.service "$units/queuemaster.service"
    put 644 etc/queuemaster.sysusers "$PREFIX/lib/sysusers.d/queuemaster.conf"
    for file in queuemaster.conf queuemaster.default queuemaster.logrotate prometheus-rules.yml odoo.conf \
        grafana-dashboard.json Dockerfile; do
        put 644 "etc/$file" "$SHARE/queuemaster/$file"
    done
    put 644 docs/queuemaster.1 "$SHARE/man/man1/queuemaster.1"
    # for a service user the init script makes it
    [ -n "$SERVICE_USER" ] || mkdir -p "$DESTDIR$LOCALSTATEDIR/lib/queuemaster"
    mkdir -p "$DESTDIR$SHARE/doc/queuemaster"
    cp README.md CHANGELOG.md LICENSE docs/*.md docs/*.svg "$DESTDIR$SHARE/doc/queuemaster"
}

"$1"
