# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the recipes: an apt of its own (lists, cache, no dpkg status) that knows Debian's suites, so that packages
# of any of them can be fetched on a machine that runs another one. The mirror is the machine's own.

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# The URI from which this machine gets the main component of its own Debian release.
debian_mirror() {
    local codename uri
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    uri=$(unset APT_CONFIG; apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        "Codename: $codename" 'Component: main' 'Origin: Debian' 2>/dev/null | sort -u | head -n 1)
    # Before the first `apt-get update` there are no index files to tell origin or code name from.
    [ -n "$uri" ] || uri=$(unset APT_CONFIG; apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' |
        awk -v r="$codename" '$1 == r && $2 == "main" { print $3; exit }')
    [ -n "$uri" ] || { note "apt knows no Debian mirror for '$codename' on this machine"; return 1; }
    echo "$uri"
}

debian_sources() { # SUITE...
    local mirror suite
    mirror=$(debian_mirror)
    for suite in "$@"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done
}

apt_private() { # DIR SUITE...: exports APT_CONFIG for an apt that lives in DIR
    local dir=$1
    shift
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d}
    : >"$dir/status"
    debian_sources "$@" >"$dir/sources.list"
    cat >"$dir/apt.conf" <<-CONF
	Dir::State "$dir/state";
	Dir::State::status "$dir/status";
	Dir::Cache "$dir/cache";
	Dir::Etc "$dir/etc";
	Dir::Etc::sourcelist "$dir/sources.list";
	Dir::Etc::sourceparts "-";
	APT::Architecture "amd64";
	APT::Architectures "amd64";
	APT::Sandbox::User "root";
	Acquire::Languages "none";
	Acquire::Retries "3";
	CONF
    export APT_CONFIG=$dir/apt.conf
    apt-get -qq update
}

# The Debian version that a package has in SUITE.
version_in() { # PACKAGE SUITE
    apt-cache madison "$1" | awk -F'|' -v s="$2" '$3 ~ " " s "/main " { gsub(/ /, "", $2); print $2; exit }'
}
