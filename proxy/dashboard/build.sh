#!/usr/bin/env bash
# Makes the dashboard from its sources: installs what the lock file says into a folder of its own, checks the types, and
# writes the page. The same sources make the same bytes.
#
#   proxy/dashboard/build.sh FOLDER PAGE      cmake --build --preset release --target dashboard calls it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
page=$2
mkdir -p "$folder"
if ! cmp -s "$here/package-lock.json" "$folder/installed.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$folder"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts)
    cp "$here/package-lock.json" "$folder/installed.json"
fi
# The packages are beside the sources, where both the compiler and the bundler look for them.
rm -rf "$folder/src"
cp -r "$here/src" "$here/build.mjs" "$here/tsconfig.json" "$folder"
cd "$folder"
node node_modules/typescript/bin/tsc --noEmit
node build.mjs "$page"
