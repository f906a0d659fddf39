# Sourced by the test commands: shows what they run, and installs what they need where it is missing (Debian, Ubuntu).

helper_packages=(nftables iptables iproute2 procps dbus polkitd pkexec systemd wireguard-tools)    # the helper's tests

say() { printf '+ %s\n' "$*" >&2; "$@"; }

install() {
  local missing=() sudo=()
  for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 -y)
  say "${apt[@]}" update
  say "${apt[@]}" install --no-install-recommends "${missing[@]}"
}
