# Sourced by the scripts beside it and by ../toolchains: Debian packages of any suite, unpacked into a folder and run through
# their own loader. Nothing is installed and no maintainer script runs, so neither the host's release nor what it has
# installed matters, and no root is needed.
#
# Downloads are kept in TIDEGATE_CACHE (default ~/.cache/tidegate) and taken from there without asking the network again.

# cache_folder: prints the folder of downloads, or nothing if it cannot be written.
cache_folder() {
  local dir=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/tidegate}
  if mkdir -p "$dir/debs" 2> /dev/null && [ -w "$dir/debs" ]; then printf '%s' "$dir/debs"; fi
}

# What packages depend on only for their maintainer scripts, or for programs that are not used here.
DEBS_DROP="perl|libperl|libgdbm|libdb[0-9]|debconf|cdebconf|adduser|passwd|dpkg|tar$|debianutils|gcc-[0-9]+-base|libcrypt1|openssl|libc-gconv|libc-bin\
|libc-l10n|locales|tzdata|init-system|sysvinit|lsb-base|sysuser|systemd|netbase|sensible-utils|ucf|login|util-linux|mount|base-files|base-passwd\
|coreutils|findutils|sed$|logrotate|cron|socat|media-types|mime-support|python3|libpython|libpam-|lib[a-z-]*-perl|ssl-cert|libllvm|libz3\
|postgresql-common|postgresql-client-common|mariadb-common|mysql-common"

# download SUITE FOLDER PACKAGE...: the .deb files of the packages and of all they depend on, less DEBS_DROP; with DEBS_KEEP
# set (a pattern), only the packages that match it.
download() {
  local suite=$1 folder=$2 scratch mirror list; shift 2
  command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null \
    || { echo "missing: apt-get and dpkg-deb, which Debian and its relatives have: $* come from there" >&2; return 1; }
  echo "getting $* from Debian $suite, once" >&2
  scratch=$(mktemp -d); mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
  mirror=$( (cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2> /dev/null || true) | grep -v '^ *#' \
    | grep -oE "https?://[^ ]*/debian/?( |$)" | head -1 | tr -d ' ' || true)
  [ -n "$mirror" ] || {
    echo "no Debian mirror in /etc/apt/sources.list or sources.list.d" >&2
    echo "hint: on a relative of Debian, as root: apt-get install debian-archive-keyring, and name one there:" >&2
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian stable main" >&2
    return 1
  }
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$scratch/sources.list"
  # Dir::State::status: what this host has installed does not count.
  local apt=(-o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$scratch/lists"
    -o Dir::State::status=/dev/null -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3)
  apt-get "${apt[@]}" update -qq
  list=$(apt-cache "${apt[@]}" -o APT::Cache::ShowOnlyFirstOr=1 depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "$@" | grep -E '^[a-z]' | sort -u)
  if [ -n "${DEBS_KEEP:-}" ]; then list=$(grep -E "^($DEBS_KEEP)" <<< "$list"); else list=$(grep -vE "^($DEBS_DROP)" <<< "$list"); fi
  mkdir -p "$folder"
  # shellcheck disable=SC2086 # a list of package names
  (cd "$folder" && apt-get -qq "${apt[@]}" download $list)
  rm -rf "$scratch"
}

# unpack SUITE ROOT PACKAGE...: the packages and what they need, unpacked below ROOT.
unpack() {
  local suite=$1 root=$2 cache debs deb key; shift 2
  key="$suite-$(tr ' ' '+' <<< "$*")-$(uname -m)"
  cache=$(cache_folder)
  if [ -n "$cache" ]; then
    # The lock keeps two clones from downloading the same at once; the rename keeps a half download from counting.
    (
      flock 8
      if [ ! -d "$cache/$key" ]; then
        rm -rf "$cache/$key.part"; download "$suite" "$cache/$key.part" "$@"; mv "$cache/$key.part" "$cache/$key"
      fi
    ) 8> "$cache/$key.lock"
    debs=$cache/$key
  else
    debs=$(mktemp -d); download "$suite" "$debs" "$@"
  fi
  rm -rf "$root"; mkdir -p "$root"
  for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$root"; done
  echo "$(du -shL "$debs" | cut -f1) of packages unpacked into $root" >&2
  [ -n "$cache" ] || rm -rf "$debs"
}

# wrap ROOT PROGRAM [OUT]: a script OUT that runs PROGRAM of ROOT with ROOT's libraries; without OUT it takes PROGRAM's place
# (for programs that start each other by path). --argv0 must be the real path: programs look for their data beside it.
wrap() {
  local root=$1 program=$2 out=${3:-$2} elf=$2 loader lib
  [ -f "$program" ] && [ "$(head -c4 "$program" | tail -c3)" = ELF ] || return 0
  if [ "$out" = "$program" ]; then elf=$program.elf; mv "$program" "$elf"; fi
  loader=$(find "$root" -name 'ld-linux-*.so.*' | head -1)
  lib=$(uname -m)-linux-gnu
  printf "#!/bin/sh\nexec '%s' --library-path '%s' --argv0 '%s' '%s' \"\$@\"\n" "$loader" "$root/usr/lib/$lib:$root/lib/$lib" "$program" "$elf" > "$out"
  chmod +x "$out"
}
