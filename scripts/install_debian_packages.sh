#!/usr/bin/env bash
# Install what the tests use beside Python packages: a PACS (Orthanc with DICOMweb), DICOM tools (dcmtk), a browser (Chromium).
# Only what is missing, and only where this user may (root, or sudo that asks for no password); otherwise says what to install.
set -euo pipefail

# package:command that proves it is there (a path for what is no command)
needed=(
    orthanc:/usr/sbin/Orthanc
    orthanc-dicomweb:/usr/share/orthanc/plugins/libOrthancDicomWeb.so
    dcmtk:storescu
    chromium:chromium
)

missing=()
for entry in "${needed[@]}"; do
    proof=${entry#*:}
    case $proof in
        /*) [ -e "$proof" ] ;;
        *) command -v "$proof" >/dev/null ;;
    esac || missing+=("${entry%%:*}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

say() { echo "Debian packages for the tests: $*" >&2; }

if ! command -v apt-get >/dev/null; then
    say "missing ${missing[*]}; this system has no apt-get, so install their equivalents. The tests that need them will fail."
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n env)
else
    say "missing. Install them as root, or the tests that need them fail:"
    echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 0
fi

say "installing ${missing[*]}"
apt=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -q -y)
# Orthanc's package starts a server of its own; the tests start theirs.
"${apt[@]}" update >/dev/null
"${apt[@]}" install --no-install-recommends "${missing[@]}" >/dev/null
