#!/bin/sh
# Understudy @VERSION@ for @TARGET@: one self-extracting file.
#
#   this script | the program's modules | the runtime
#
# The first start unpacks modules and runtime into a private cache directory; every start then replaces this shell by
# the runtime, so that the process id, signals and exit code are the program's own. The cache directory is the
# first of those in candidates() that works, and may be removed while nothing runs:
#
#   understudy/                    0700, ours
#     runtime-DIGEST/understudy    the runtime, under the name that ps shows
#     program-DIGEST/main.js …     the modules
#     deno/                        what the runtime itself caches
#
# Unpacked files are checked against their digests, dated 2000-01-01 and only then renamed into place. A later start
# compares owner, mode, size and that date (one ls, no reading): what was changed since then is unpacked again.

runtime=@RUNTIME_DIRECTORY@
program=@PROGRAM_DIRECTORY@
# A line each: path, first 4 KiB block, size in bytes, SHA-256.
files='@FILES@'
# The same in the order of ls, for the check at every start: paths, and sizes with paths.
paths='@PATHS@'
sizes='@SIZES@'
block=4096
big_block=1048576 # ten times as fast

main() {
  case $0 in
    /*) self=$0 ;;
    *) self=$PWD/$0 ;;
  esac
  export PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
  find_ready || unpack_somewhere || exit 1
  export DENO_DIR="$cache/deno" DENO_NO_UPDATE_CHECK=1 DENO_NO_PACKAGE_JSON=1 UNDERSTUDY_EXECUTABLE="$self"
  exec "$cache/$runtime/understudy" run --quiet --allow-all --no-prompt --cached-only --no-remote --no-npm --no-config \
    --no-lock "$cache/$program/main.js" "$@"
}

# Calls `$1 DIRECTORY` for each place where the cache may be, best first, until one call succeeds.
candidates() {
  if [ -n "${UNDERSTUDY_CACHE_DIR:-}" ]; then
    "$1" "$UNDERSTUDY_CACHE_DIR"
    return
  fi
  [ -n "${XDG_CACHE_HOME:-}" ] && "$1" "$XDG_CACHE_HOME/understudy" && return
  [ -n "${HOME:-}" ] && "$1" "$HOME/.cache/understudy" && return
  [ -n "${CACHE_DIRECTORY:-}" ] && "$1" "${CACHE_DIRECTORY%%:*}/understudy" && return
  [ -w /var/cache ] && "$1" /var/cache/understudy && return
  # Shared directories: the user's number in the name keeps users apart, the checks keep them honest.
  uid=$(id -u) || return
  [ -n "${TMPDIR:-}" ] && "$1" "$TMPDIR/understudy-$uid" && return
  "$1" "/tmp/understudy-$uid" || "$1" "/dev/shm/understudy-$uid" || "$1" "/run/user/$uid/understudy"
}

find_ready() {
  candidates is_ready
}

# Whether directory $1 is ours alone and holds exactly what this file would unpack. Sets `cache`.
is_ready() {
  cache=$1
  is_candidate "$1" || return 1
  # shellcheck disable=SC2086 # paths hold no blanks
  listing=$(cd "$1" 2>/dev/null && TZ=UTC LC_ALL=C exec ls -ldn . .. $paths 2>/dev/null) || return 1
  # Nine words a line: mode, links, owner, group, size, month, day, time or year, path.
  # shellcheck disable=SC2086
  set -- $listing
  is_closed "$1" "$3" "${10}" "${12}" || return 1
  owner=$3
  shift 18
  found=
  while [ $# -gt 0 ]; do
    case "$1 $3 $6 $7 $8" in
      -r?x------*" $owner Jan 1 2000") found="$found $5:$9" ;;
      *) return 1 ;;
    esac
    shift 9
  done
  [ "$found" = "$sizes" ]
}

# Whether directory $1 is ours, closed to others, and in a place where nobody else can exchange it.
is_private() {
  is_candidate "$1" || return 1
  listing=$(cd "$1" 2>/dev/null && LC_ALL=C exec ls -ldn . .. 2>/dev/null) || return 1
  # shellcheck disable=SC2086
  set -- $listing
  is_closed "$1" "$3" "${10}" "${12}"
}

is_candidate() {
  case $1 in /*[!/]*/*) [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] ;; *) return 1 ;; esac
}

# is_closed MODE OWNER PARENT_MODE PARENT_OWNER
is_closed() {
  case $1 in drwx------*) ;; *) return 1 ;; esac
  case $4 in "$2" | 0) ;; *) return 1 ;; esac
  case $3 in
    ????????w[!tT]*) return 1 ;; # anyone may rename what is in it
    ?????w???[!tT]*) [ "$4" = "$2" ] ;;
  esac
}

unpack_somewhere() {
  reasons=
  candidates unpack && return
  printf 'understudy: Cannot unpack the program: %s\n' "no directory can hold it (set UNDERSTUDY_CACHE_DIR):$reasons" >&2
  return 1
}

# Unpacks everything into directory $1. Safe when several starts do it at once. Sets `cache`.
unpack() {
  cache=$1
  reason=$(umask 077 && unpack_privately "$cache" 2>&1) && is_ready "$cache" && return
  reasons="$reasons
  $1: ${reason:-changed while it was unpacked}"
  return 1
}

unpack_privately() (
  case $1 in
    /*[!/]*/*) ;;
    *)
      echo "not an absolute path below a directory"
      exit 1
      ;;
  esac
  mkdir -p "$1" || exit 1
  is_private "$1" || {
    echo "not owned by this user alone"
    exit 1
  }
  # What a killed start left behind.
  find "$1" -maxdepth 1 -name 'new-*' -mmin +60 -exec rm -rf {} + 2>/dev/null
  new=$(mktemp -d "$1/new-XXXXXX") || exit 1
  trap 'rm -rf "$new"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 0\n' >"$new/probe" && chmod 700 "$new/probe" && "$new/probe" 2>/dev/null || {
    echo "programs may not run there"
    exit 1
  }
  while read -r path first size digest; do
    mkdir -p "$new/${path%/*}" "$1/${path%/*}" || exit 1
    unpack_file "$path" "$first" "$size" "$digest" || exit 1
  done <<LIST
$files
LIST
  "$new/$runtime/understudy" --version >/dev/null || {
    echo "the runtime does not start on this system"
    exit 1
  }
  while read -r path _; do
    # Renames over what a concurrent start has put there: the same bytes.
    mv -f "$new/$path" "$1/$path" || exit 1
  done <<LIST
$files
LIST
)

# Copies one file out of this one into $new and dates it.
unpack_file() {
  case $1 in
    "$runtime"/*) copy "$big_block" "$2" "$3" "$new/$1" ;; # the last one, at a multiple of the big block
    *) copy "$block" "$2" "$3" "$new/$1" ;;
  esac
  [ "$(digest "$new/$1")" = "$4" ] || {
    echo "$self is damaged, or the disk is full"
    return 1
  }
  chmod 700 "$new/$1" && TZ=UTC touch -t 200001010000.00 "$new/$1"
}

# copy BLOCK_SIZE FIRST_4K_BLOCK SIZE FILE
copy() {
  dd if="$self" of="$4" bs="$1" skip=$(($2 * block / $1)) count=$((($3 + $1 - 1) / $1)) 2>/dev/null
}

digest() {
  if command -v sha256sum >/dev/null; then
    sum=$(sha256sum <"$1")
  else
    sum=$(shasum -a 256 <"$1")
  fi
  echo "${sum%% *}"
}

main "$@"
exit 1
