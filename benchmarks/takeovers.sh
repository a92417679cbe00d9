#!/bin/sh
# Rounds of taking over (HG-DAgger): a policy drives, the script goes on from where it got to, the policy learns from that, again. On a machine with
# a GPU and many cores, from the project's root:
#
#     make learn && . .venv/bin/activate && WORKERS=15 sh benchmarks/takeovers.sh runs/takeovers
#
# How the shipped policy was made, in order instead of side by side; docs/results.md says what was different. A finished step is not done again.
set -eu
out=$1
workers=${WORKERS:-2}
rounds=${ROUNDS:-4}
updates=${UPDATES:-8000}  # of the encoder per round
size=128

# collect NAME TASK EPISODES SEED [POLICY]: pictures up to 80 ms old and commands up to 80 ms late, as they are through the ROS graph
collect() {
    [ ! -d "$out/stores/$1" ] || return 0
    mqe sim collect --stage --task "$2" --episodes "$3" --seed "$4" --workers "$workers" --randomise observation_delay --out "$out/raw/$1/$1" \
        ${5:+--after-policy "$5"}
    mqe data import "$out/raw/$1" --out "$out/stores/$1" --image-size $size
}
# learn RUN STORE OPTIONS...
learn() {
    run=$1; store=$2; shift 2
    if [ -f "$run/config.yaml" ]; then mqe train --resume --out "$run"; else mqe train --data "$store" --out "$run" "$@"; fi
}

base="place4:353 place1:500 drawer_place:800 drawer_open:200 drawer_close:150 reach:150"
more="place4:534 place2:567 place3:288"
for part in $base; do collect "base_${part%:*}" "${part%:*}" "${part#*:}" 0; done
for part in $more; do collect "more_${part%:*}" "${part%:*}" "${part#*:}" 20000; done
[ -d "$out/store0" ] || mqe data merge "$out"/stores/base_* "$out"/stores/more_* --out "$out/store0"
learn "$out/encoder0" "$out/store0" --config sim_encoder_gpu --set schedule=constant --steps "$updates"

round=1
while [ "$round" -le "$rounds" ]; do
    before=$((round - 1))
    policy=$out/policy$before.onnx
    [ -f "$policy" ] || mqe export "$out/encoder$before" --out "$policy"
    seed=$((20000 + 10000 * round))
    collect "taken${round}_place4" place4 170 $seed "$policy"
    collect "taken${round}_place2" place2 40 $seed "$policy"
    collect "taken${round}_drawer_place" drawer_place 20 $seed "$policy"
    collect "new${round}_place4" place4 250 $((seed + 6000))
    [ -d "$out/store$round" ] || mqe data merge "$out/store$before" "$out/stores/taken${round}"_* "$out/stores/new${round}_place4" --out "$out/store$round"
    # The last one comes to rest.
    schedule=constant; [ "$round" -lt "$rounds" ] || schedule=cosine
    learn "$out/encoder$round" "$out/store$round" --config sim_encoder_gpu --init "$out/encoder$before" --set schedule=$schedule --set warmup_steps=200 --steps "$updates"
    round=$((round + 1))
done
