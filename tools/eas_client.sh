#!/usr/bin/env bash
# Makes the virtual environment of Alibaba's queue client, for the tests:  tools/eas_client.sh FOLDER
# It is one of its own because the client works with protobuf 3 alone. What is there is left as it is.
set -euo pipefail
folder="$1" stamp="eas-prediction==0.36 protobuf==3.20.3"
[ "$(cat "$folder/.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
"${python_cmd:-python3}" -m venv --clear "$folder"
# shellcheck disable=SC2086 -- two requirements
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check $stamp
echo "$stamp" > "$folder/.stamp"
