# A gateway with simulated providers, at a free port: for tests/api/run and tests/clients/run, which call `stop_sandbox`
# when they end.

sandbox=''

start_sandbox() { # gateway, python, folder for what it prints; sets url and key
    local gateway=$1 python=$2 folder=$3 try
    # It prints its address and a key as JSON.
    "$gateway" sandbox --json --listen 127.0.0.1:0 >"$folder/sandbox.json" 2>"$folder/log" &
    sandbox=$!
    for ((try = 0; try < 300; try++)); do
        read -r url key < <("$python" -c '
import json, sys
printed = json.load(open(sys.argv[1]))
print(printed["url"], printed["key"])
' "$folder/sandbox.json" 2>/dev/null) && return
        kill -0 "$sandbox" 2>/dev/null || break
        sleep 0.1
    done
    echo "the sandbox does not start: $(tail -n 5 "$folder/log")" >&2
    exit 1
}

# Fails if it ends badly or panicked.
stop_sandbox() { # folder
    [[ -n $sandbox ]] || return 0
    local verdict=0
    kill "$sandbox" && wait "$sandbox" || verdict=1
    sandbox=''
    ! grep -A 3 'panicked' "$1/log" || verdict=1
    return "$verdict"
}
