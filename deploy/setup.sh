# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What deploy/quickstart and tests/run share: progress, Debian packages, a Python environment, a build.
# Sourced. The caller sets `root` (the checkout) and `log` (the file that takes what commands print).

: "${root:?}" "${log:?}"
export DEBIAN_FRONTEND=noninteractive
unset PYTHONPATH PYTHONHOME # the environments made here see their own packages only

# What it takes to build Mist and to run it: README.md and deploy/README.md say the same, which a test compares.
build_packages=(
	gcc libc6-dev meson ninja-build pkg-config
	libmicrohttpd-dev libjansson-dev libconfig-dev libsqlite3-dev libuv1-dev libpaho-mqtt-dev libwslay-dev librdkafka-dev libgnutls28-dev libmimalloc-dev libcmocka-dev libcurl4-openssl-dev
	python3 python3-venv python3-yaml openjdk-17-jre-headless
)
python_requirements=(pyspark==3.5.6 websockets==17.4)

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

now_us() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }

# seconds SINCE_US [UNTIL_US]: "12.3"
seconds()
{
	local tenths=$(((${2:-$(now_us)} - $1) / 100000))
	printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

ticker=
stop_ticker()
{
	[ -n "$ticker" ] || return 0
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	ticker=
}

tick()
{
	local began=$SECONDS pause
	exec {pause}<> <(:) # nothing ever comes from here: a pause without a process that could be left
	while ! read -rt 1 -u "$pause"; do
		printf '\r  %-44s %4d s ' "$1" $((SECONDS - began))
	done
}

# step TITLE COMMAND...: runs the command with its output in the log, and says how long it took. A failure shows the end of
# the log and is returned.
step()
{
	local title=$1 began status=0
	shift
	began=$(now_us)
	printf '  %-44s ' "$title"
	if [ -t 1 ]; then
		tick "$title" &
		ticker=$!
	fi
	printf '\n== %s\n' "$title" >>"$log"
	"$@" </dev/null >>"$log" 2>&1 || status=$?
	stop_ticker
	[ -t 1 ] && printf '\r  %-44s ' "$title"
	if [ $status -ne 0 ]; then
		printf 'failed after %s s; the end of %s:\n' "$(seconds "$began")" "$log"
		tail -n 20 "$log" | sed 's/^/    | /'
		return $status
	fi
	printf '%6s s\n' "$(seconds "$began")"
}

# missing_packages NAME...: those that are not installed
missing_packages()
{
	local name
	for name; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
	done
}

machine()
{
	# shellcheck source=/dev/null
	(. /etc/os-release 2>/dev/null && printf '%s' "${PRETTY_NAME:-$ID}") || printf 'an unknown system'
}

install_packages()
{
	mkdir -p /usr/share/man/man1 && # Java's alternatives want it; slim images leave it out
		apt-get update &&
		apt-get install -y --no-install-recommends "$@"
}

# need_packages NAME...
need_packages()
{
	local missing
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		die "this needs Debian's apt-get; on another system go by the section \"Install\" of deploy/README.md"
	fi
	mapfile -t missing < <(missing_packages "$@")
	if [ ${#missing[@]} -eq 0 ]; then
		printf '  %-44s %6s\n' "Debian packages" "there"
		return
	fi
	[ "$(id -u)" -eq 0 ] || die "these packages are missing and only root can install them: ${missing[*]}"
	step "Debian packages (${#missing[@]} missing)" install_packages "${missing[@]}" ||
		die "packages could not be installed: ${missing[*]}. Is the network up, and does /etc/apt name a mirror of Debian 12? This is $(machine)"
}

make_venv()
{
	local venv=$1
	shift
	rm -rf "$venv" &&
		/usr/bin/python3 -m venv "$venv" &&
		"$venv/bin/python3" -m pip install --progress-bar off --disable-pip-version-check "$@" &&
		printf '%s\n' "$venv" "$@" >"$venv/complete"
}

# need_venv FOLDER REQUIREMENT...: a Python environment with exactly these, made anew when they or the folder changed
need_venv()
{
	local venv=$1
	if cmp -s "$venv/complete" <(printf '%s\n' "$@") && "$venv/bin/python3" -c '' 2>/dev/null; then
		printf '  %-44s %6s\n' "Python environment" "there"
		return
	fi
	step "Python environment (PySpark is 300 MB)" make_venv "$@" ||
		die "the Python environment in $venv could not be made. Is the network up, and is there 2 GB of room?"
}

# build FOLDER OPTION…: `build_target`, if it is set, is what is made in place of everything
build()
{
	local tree=$1
	shift
	# A tree of other options, or one that was moved, is made anew.
	if ! cmp -s "$tree/made-with" <(printf '%s\n' "$root" "$@"); then
		rm -rf "$tree"
		meson setup "$tree" "$root" "$@" && printf '%s\n' "$root" "$@" >"$tree/made-with" || return
	fi
	meson compile -C "$tree" ${build_target:+"$build_target"}
}

java_home()
{
	local home
	home=/usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture)
	[ -x "$home/bin/java" ] && printf '%s' "$home"
}

# processes_with NAME=VALUE: the ids of the processes whose environment has an entry that contains this; of this root only,
# since /proc may also show those of others, where the same path is another place
processes_with()
{
	local pid
	# grep itself does not have the entry; a second program in a pipe would.
	for pid in $(env -i PATH="$PATH" grep -lszF -- "$1" /proc/[0-9]*/environ); do
		pid=${pid//[!0-9]/}
		if [ "/proc/$pid/root" -ef / ]; then
			printf '%s\n' "$pid"
		fi
	done
}
