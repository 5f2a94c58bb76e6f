#!/usr/bin/env bash
# Fetches Slurm's daemons, with what they need and this system lacks, and unpacks them into a folder. Nothing is
# installed. The tests find them there when CVFP_SLURM names the folder.
set -euo pipefail
mkdir -p "$1"
cd "$1"
[ ! -e unpacked ] || exit 0
apt-cache show slurmctld >/dev/null 2>&1 || apt-get update -qq
packages=$(apt-get install -qq -s --no-install-recommends slurmctld slurmd slurm-client munge |
  sed -n 's/^Inst \([^ ]*\) .*/\1/p')
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
(cd "$fetched"; apt-get download -qq -o APT::Sandbox::User= $packages)
for package in "$fetched"/*.deb; do dpkg -x "$package" .; done
touch unpacked
