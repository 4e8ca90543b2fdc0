#!/bin/bash
# Builds Rust plugins into WebAssembly components: wasm32-unknown-unknown, linked by wasm-component-ld, which imports nothing but
# what the plugin's world names.
# usage: rust-wasm.sh install | plugins | build CRATE_FOLDER OUT.wasm | test CRATE_FOLDER | path
#   plugins builds every plugins/NAME into target/plugins/NAME.wasm, and plugins/golden/rust; path prints the rustc that is used
# environment: PREFIX (target/toolchains/rust-wasm), RUST_WASM (rustup: only that; debian: only that; else the first that works)
# The target comes from `rustup target add`; where that cannot reach its server, Debian forky's rustc and its wasm32 library are
# unpacked (184 MB download, 786 MB on disk) and run through their own loader, with cargo and the linker of rustup's toolchain.
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); . "$PROJECT/scripts/servers/debs.sh"
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/rust-wasm}"); ROOT=$PREFIX/sysroot; TARGET=wasm32-unknown-unknown

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$TARGET" ]; }

# rustc_path: prints the rustc to use; fails if nothing is installed yet.
rustc_path() {
  if [ "${RUST_WASM:-}" != debian ] && has_target; then rustup which rustc 2> /dev/null || command -v rustc
  elif [ "${RUST_WASM:-}" != rustup ] && [ -x "$PREFIX/rustc" ]; then printf '%s\n' "$PREFIX/rustc"
  else return 1; fi
}

install() {
  command -v cargo > /dev/null && command -v rustc > /dev/null \
    || { echo "missing: Rust, with cargo" >&2; echo "hint: https://rustup.rs installs it" >&2; exit 1; }
  rustc_path > /dev/null && return
  if [ "${RUST_WASM:-}" != debian ]; then
    timeout 20 rustup target add "$TARGET" >&2 && has_target && return
    [ "${RUST_WASM:-}" != rustup ] || { echo "rustup has no target $TARGET" >&2; exit 1; }
    echo "rustup cannot supply $TARGET: taking Debian's" >&2
  fi
  DEBS_KEEP="(rustc|libstd-rust.*|libllvm.*|libc6|libgcc-s1|libstdc\+\+6|libedit2|libffi8|libtinfo6|libxml2.*|libz3.*|libzstd1|zlib1g|libbsd0|libmd0|liblzma5)$" \
    unpack forky "$ROOT" rustc libstd-rust-dev-wasm32
  printf "#!/bin/sh\nexec '%s' --library-path '%s' '%s' --sysroot '%s' \"\$@\"\n" "$(find "$ROOT" -name 'ld-linux-*.so.*' | head -1)" \
    "$ROOT/usr/lib/$(uname -m)-linux-gnu" "$ROOT/usr/bin/rustc" "$ROOT/usr" > "$PREFIX/rustc.part"
  chmod +x "$PREFIX/rustc.part"; mv "$PREFIX/rustc.part" "$PREFIX/rustc"; "$PREFIX/rustc" --version >&2
}

# build CRATE_FOLDER OUT [OPTION_OF_CARGO...]
build() {
  local crate out folder linkers name
  crate=$(cd "$1" && pwd); out=$(realpath -m "$2")
  folder=${CARGO_TARGET_DIR:-$PROJECT/target}/guests
  linkers=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
  name=$(sed -n 's/^name *= *"\(.*\)"/\1/p' "$crate/Cargo.toml" | head -1 | tr - _)
  # The source paths in panics and traps do not name this machine.
  (cd "$crate" && PATH=$linkers:$linkers/gcc-ld:$PATH RUSTC=$(rustc_path) CARGO_TARGET_DIR=$folder \
    RUSTFLAGS="-Clinker=wasm-component-ld -Clinker-flavor=wasm-ld --remap-path-prefix=$PROJECT=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=crates" \
    cargo build --quiet "${@:3}" --release --target "$TARGET")
  mkdir -p "$(dirname "$out")"
  # An unchanged plugin keeps its time stamp.
  cmp -s "$folder/$TARGET/release/$name.wasm" "$out" || { cp "$folder/$TARGET/release/$name.wasm" "$out.part.$$"; mv "$out.part.$$" "$out"; }
}

plugins() {
  local crate
  for crate in "$PROJECT"/plugins/*/Cargo.toml; do
    crate=$(dirname "$crate"); build "$crate" "$PROJECT/target/plugins/$(basename "$crate").wasm" --locked
  done
  build "$PROJECT/plugins/golden/rust" "$PROJECT/target/plugins/golden-rust.wasm" --locked
}

locked_install() { mkdir -p "$PREFIX"; (flock 9; install) 9> "$PREFIX/.lock"; }

case "${1:-}" in
  install) locked_install ;;
  plugins) locked_install; plugins ;;
  build) locked_install; build "$2" "$3" ;;
  test) cd "$2"; cargo test --quiet ;;
  path) rustc_path ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
