#!/bin/sh
# The critic of the shipped policy, which refuses goals of other scenes. It is learned beside that policy, or that of
# the bundle POLICY, which stays as it is, to the bit, on the features of its encoder. From the project's root, in about
# an hour on two cores:
#
#     make learn && . .venv/bin/activate && sh benchmarks/refusing_critic.sh runs/critic [NAME OPTIONS...]
#
# Writes runs/critic/NAME.onnx (shipped), with options of `mqe train` for another critic on the same data. What is there
# is not made again, and a training that was interrupted goes on, without OPTIONS. Another POLICY needs another NAME.
set -eu
out=${1:?usage: refusing_critic.sh OUT [NAME OPTIONS...]}
name=${2:-shipped}
[ $# -lt 2 ] || shift
shift
policy=${POLICY:-ros2_ws/src/mqe_bringup/policies/widowx_sim.onnx}
mkdir -p "$out"

# store STORE SEED TASK:EPISODES...: stages in an order drawn by scene; scenes of one task must not meet twice.
store() {
    store=$1; seed=$2; shift 2
    [ ! -d "$out/$store" ] || return 0
    parts=
    for part in "$@"; do
        task=${part%:*}
        mqe sim collect --stage --shuffle-stages --task "$task" --episodes "${part#*:}" --seed "$seed" --workers 2 \
            --randomise observation_delay --out "$out/raw/$store/$task"
        [ -d "$out/part_${store}_$task" ] ||
            mqe data import "$out/raw/$store/$task" --out "$out/part_${store}_$task" --image-size 128
        parts="$parts $out/part_${store}_$task"
        seed=$((seed + 2000))
    done
    # shellcheck disable=SC2086
    mqe data merge $parts --out "$out/$store"
}
store learned 500000 place2:400 place4:800 drawer_place:300 place1:150 place3:300 drawer_open:60 drawer_close:60 \
    reach:80
store held_out 700000 place2:160 place4:320 drawer_place:120 place1:100 place3:180 drawer_open:30 drawer_close:30 \
    reach:40

if [ -f "$out/$name/config.yaml" ]; then
    [ $# -eq 0 ] || { echo "$out/$name is there: give it no options, or another name" >&2; exit 1; }
    mqe train --resume --out "$out/$name"
else
    # hidden_dims and actor_layer_norm are the policy's.
    mqe train --data "$out/learned" --out "$out/$name" --config sim_features --set features_of="$policy" \
        --begin-from "$policy" --set begin_with=policy --set alpha=0 --set q_weight=0 \
        --set hidden_dims=[512,512,512] --set actor_layer_norm=true --set critic_hidden_dims=[256,256,256] \
        --set scene_distance=true --set feature_copies=1 --set steps=4000 "$@"
fi
mqe export "$out/$name" --out "$out/$name.onnx" --held-out "$out/held_out"
