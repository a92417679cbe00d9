#!/bin/sh
# The critic of the shipped policy, which refuses goals of other scenes. It is learned beside a policy that stays as it
# is, to the bit, on the features of that policy's encoder. From the project's root, in about an hour on two cores:
#
#     make learn && . .venv/bin/activate && sh benchmarks/refusing_critic.sh runs/critic POLICY.onnx
#
# Writes runs/critic/policy.onnx. What is there is not made again, and a training that was interrupted goes on.
set -eu
out=${1:?usage: refusing_critic.sh OUT POLICY.onnx}
policy=${2:?usage: refusing_critic.sh OUT POLICY.onnx}
mkdir -p "$out"

# store NAME SEED TASK:EPISODES...: stages in an order drawn by scene; scenes of one task must not meet twice.
store() {
    name=$1; seed=$2; shift 2
    [ ! -d "$out/$name" ] || return 0
    parts=
    for part in "$@"; do
        task=${part%:*}
        mqe sim collect --stage --shuffle-stages --task "$task" --episodes "${part#*:}" --seed "$seed" --workers 2 \
            --randomise observation_delay --out "$out/raw/$name/$task"
        [ -d "$out/part_${name}_$task" ] ||
            mqe data import "$out/raw/$name/$task" --out "$out/part_${name}_$task" --image-size 128
        parts="$parts $out/part_${name}_$task"
        seed=$((seed + 2000))
    done
    # shellcheck disable=SC2086
    mqe data merge $parts --out "$out/$name"
}
store learned 500000 place2:400 place4:800 drawer_place:300 place1:150 place3:300 drawer_open:60 drawer_close:60 \
    reach:80
store held_out 700000 place2:160 place4:320 drawer_place:120 place1:100 place3:180 drawer_open:30 drawer_close:30 \
    reach:40

if [ -f "$out/run/config.yaml" ]; then mqe train --resume --out "$out/run"; else
    mqe train --data "$out/learned" --out "$out/run" --config sim_features --set features_of="$policy" \
        --begin-from "$policy" --set begin_with=policy --set alpha=0 --set q_weight=0 \
        --set hidden_dims=[512,512,512] --set actor_layer_norm=true --set critic_hidden_dims=[256,256,256] \
        --set scene_distance=true --set feature_copies=1 --set steps=4000
fi
mqe export "$out/run" --out "$out/policy.onnx" --held-out "$out/held_out"
