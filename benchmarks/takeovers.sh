#!/bin/sh
# Rounds of taking over (HG-DAgger): a policy drives, the script goes on from where it got to, the policy learns from
# that, again. On a machine with a GPU and many cores, from the project's root:
#
#     make learn && . .venv/bin/activate && WORKERS=15 sh benchmarks/takeovers.sh runs/takeovers
#
# The road of the shipped policy's encoder and its first head, one step after the other; docs/results.md says what was
# different then. What is there is not made again, and a training that was interrupted goes on. The episode counts are
# those that came about, where steps ran as long as there was time.
set -eu
out=${1:?usage: takeovers.sh OUT}
workers=${WORKERS:-2}
updates=${UPDATES:-8000}  # of the encoder per round
shipped=ros2_ws/src/mqe_bringup/policies/widowx_sim.onnx
size=128

# collect NAME TASK EPISODES SEED [POLICY]: pictures up to 80 ms old and commands up to 80 ms late, as they are through
# the ROS graph
collect() {
    [ ! -d "$out/stores/$1" ] || return 0
    mqe sim collect --stage --task "$2" --episodes "$3" --seed "$4" --workers "$workers" \
        --randomise observation_delay --out "$out/raw/$1/$1" \
        ${5:+--after-policy "$5"}
    mqe sim check "$out/raw/$1"
    mqe data import "$out/raw/$1" --out "$out/stores/$1" --image-size $size
}
# learn RUN OPTIONS...: to the end of its steps, and export
learn() {
    run=$1; shift
    [ ! -f "$run.onnx" ] || return 0
    if [ -f "$run/config.yaml" ]; then mqe train --resume --out "$run"; else mqe train --out "$run" "$@"; fi
    mqe export "$run" --out "$run.onnx"
}
# merge OUT STORE...
merge() {
    [ ! -d "$1" ] || return 0
    merged=$1; shift
    mqe data merge "$@" --out "$merged"
}

# Scenes of one task must not meet twice: a seed of its own for each part.
for part in place4:353 place1:500 drawer_place:800 drawer_open:200 drawer_close:150 reach:150; do
    collect "base_${part%:*}" "${part%:*}" "${part#*:}" 0
done
for part in place4:534 place2:567 place3:288; do collect "more_${part%:*}" "${part%:*}" "${part#*:}" 20000; done
merge "$out/store0" "$out"/stores/base_* "$out"/stores/more_*
learn "$out/encoder0" --data "$out/store0" --config sim_encoder_gpu --set schedule=constant --steps "$updates"

# In the first two rounds a policy of 64 pixels drove; here it is the shipped one, which came of this road.
for round in 1 2 3 4; do
    before=$((round - 1)); seed=$((20000 + 10000 * round))
    policy=$out/encoder$before.onnx; [ $round -gt 2 ] || policy=$shipped
    collect "taken${round}_place4" place4 170 $seed "$policy"
    collect "taken${round}_place2" place2 40 $seed "$policy"
    collect "taken${round}_drawer_place" drawer_place 20 $seed "$policy"
    collect "more${round}_place4" place4 230 $((seed + 6000))
    merge "$out/store$round" "$out/store$before" "$out/stores/taken${round}"_* "$out/stores/more${round}_place4"
    schedule=constant; [ $round -lt 4 ] || schedule=cosine  # the last one comes to rest
    learn "$out/encoder$round" --data "$out/store$round" --config sim_encoder_gpu \
        --begin-from "$out/encoder$before" --set schedule=$schedule --set warmup_steps=200 \
        --steps "$updates"
done

# Once more, and the policy with its critic, which begins as the encoder's. The first head counted these episodes three
# times.
collect taken5_place4 place4 365 70000 "$out/encoder4.onnx"
collect taken5_place2 place2 59 70000 "$out/encoder4.onnx"
merge "$out/store5" "$out/store4" "$out"/stores/taken5_*
learn "$out/policy" --data "$out/store5" --config sim_features --set features_of="$out/encoder4" --agent mqe \
    --steps 3000 --set actor_goal_trajectory=0.1 --set actor_goal_scene=0.9 --set actor_goals_crossed=true \
    --set actor_stop_radius_m=0.05 --set q_weight=0.1 --begin-from "$out/encoder4" --set begin_with=policy \
    --set hidden_dims=[512,512,512] --set learning_rate=5e-4 --set feature_copies=1 --set augment_padding=0
for task in place1 place2 place3 place4 drawer_open drawer_close drawer_place reach; do
    mqe eval --policy "$out/policy.onnx" --task $task --episodes 50 --seed 0 --workers "$workers" \
        --out "$out/policy/$task"
done
