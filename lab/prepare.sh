# Sourced by ./demo and ./test: makes the virtual environment and installs missing programs. Says what it does.
#
#   prepare_python EXTRAS      .venv in the project's root with the project and e.g. "[test]"
#   prepare_python_iptables    the extra "iptables", which is compiled, in that environment
#   prepare_kubernetes P...    programs of Kubernetes, built from its Go module where there are none (minutes, once)
#   prepare_compiler           cc, with a static C library
#   prepare_programs P=PKG...  for each program P that is not on PATH, Debian's package PKG (root and apt-get permitting)

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

install_packages() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    # Services of what we install stay off: the tests start their own, in namespaces.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        local ours=1
    fi
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
    local status=$?
    [ -z "${ours:-}" ] || rm -f /usr/sbin/policy-rc.d
    return $status
}

prepare_programs() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}" || say "could not install: ${missing[*]}"
}

prepare_python() {
    local extras="$1" python stamp
    find_python >/dev/null || install_packages python3 python3-venv ||
        { say "Python 3.11 or later is needed; install it and run this again."; return 1; }
    python=$(find_python) || { say "Python 3.11 or later is needed; install it and run this again."; return 1; }
    stamp="$("$python" --version) $(pwd) $(cksum < pyproject.toml)"
    case "$(cat .venv/ready 2>/dev/null)" in
        "$stamp$extras" | "$stamp[test]") return 0 ;;
    esac
    say "making the virtual environment .venv (a minute at the first time)"
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        install_packages python3-venv && "$python" -m venv .venv ||
            { say "python3 -m venv does not work; install the package python3-venv and run this again."; return 1; }
    fi
    .venv/bin/pip install --quiet --disable-pip-version-check -e ".$extras" || return 1
    printf '%s' "$stamp$extras" > .venv/ready
}

prepare_compiler() {
    command -v cc >/dev/null || install_packages gcc libc6-dev || say "could not install a C compiler"
}

prepare_python_iptables() {
    .venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("iptc") is None)' && return 0
    say "building python-iptables"
    prepare_compiler
    .venv/bin/python -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        install_packages python3-dev || say "could not install Python's headers"
    .venv/bin/pip install --quiet --disable-pip-version-check -e ".[iptables]" || say "could not build python-iptables"
}

prepare_kubernetes() {
    local built="${XDG_CACHE_HOME:-$HOME/.cache}/tortie-tests" program
    for program in "$@"; do
        PATH="${KUBEBUILDER_ASSETS:-/nonexistent}:$PATH:$built" command -v "$program" >/dev/null && continue
        command -v go >/dev/null || { say "no $program (KUBEBUILDER_ASSETS, PATH), and no Go to build one"; return 0; }
        say "building $program (minutes, once; it goes to $built)"
        mkdir -p "$built"
        (cd tests/servers/kube && CGO_ENABLED=0 go build -ldflags='-s -w' -o "$built/$program.$$" "./$program") &&
            mv "$built/$program.$$" "$built/$program" || say "could not build $program"
    done
}
