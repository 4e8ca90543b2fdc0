#!/bin/bash
# pt-online-schema-change of Debian's percona-toolkit, unpacked into a folder with the perl that runs it (see debs.sh): tests alter tables with it.
# usage: percona-toolkit.sh install | path
#   path prints where the program is
# environment: PREFIX (the install, target/servers/percona-toolkit)
set -euo pipefail; . "$(dirname "$0")/instance.sh"
folders percona-toolkit

unpack_server() {
  local lib program=$PREFIX/bin/pt-online-schema-change
  lib=$ROOT/usr/lib/$(uname -m)-linux-gnu
  # perl comes along: the driver of its package is made for that perl alone. The kit's other programs want gdb and more.
  DEBS_KEEP="percona-toolkit$|perl$|perl-base$|perl-modules|libperl5|libdbi-perl|libdbd-mysql-perl|libterm-readkey-perl|libmariadb3|libc6$|libcrypt1|libssl3|zlib1g" \
    unpack bookworm "$ROOT" percona-toolkit
  mkdir -p "$PREFIX/bin"
  wrap "$ROOT" "$ROOT/usr/bin/perl" "$PREFIX/bin/perl"
  # Without MARIADB_PLUGIN_DIR, the driver looks for what MySQL's logins need where Debian would have it.
  cat > "$program" << END
#!/bin/sh
export PERL5LIB='$lib/perl5/5.36:$ROOT/usr/share/perl5:$lib/perl/5.36:$lib/perl-base:$ROOT/usr/share/perl/5.36'
export MARIADB_PLUGIN_DIR='$lib/libmariadb3/plugin'
exec '$PREFIX/bin/perl' '$ROOT/usr/bin/pt-online-schema-change' "\$@"
END
  chmod +x "$program"
  "$program" --version >&2
}

case "${1:-}" in
  install) install_once ;;
  path) print_path pt-online-schema-change ;;
  *) usage ;;
esac
