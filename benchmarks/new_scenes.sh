#!/bin/sh
# The policy of a bundle, its head learned on with scenes that neither it nor its encoder has seen; the encoder stays.
# The shipped policy came of the one before so. From the project's root, in about an hour and a half on two cores:
#
#     git show f050771:ros2_ws/src/mqe_bringup/policies/widowx_sim.onnx > first_head.onnx
#     make learn && . .venv/bin/activate
#     POLICY=first_head.onnx sh benchmarks/new_scenes.sh runs/new_scenes [NAME OPTIONS...]
#
# The shipped policy has seen these scenes. Another POLICY needs another OUT, as it drives in some of the episodes.
# Writes runs/new_scenes/NAME.onnx ("plain"), a policy without a critic, with options of `mqe train` for another one on
# the same data. What is there is not made again, and a training that was interrupted goes on, without OPTIONS.
set -eu
out=${1:?usage: new_scenes.sh OUT [NAME OPTIONS...]}
name=${2:-plain}
[ $# -lt 2 ] || shift
shift
policy=${POLICY:?the bundle that learns on}
mkdir -p "$out"

# part NAME TASK EPISODES SEED [OPTIONS...]: scenes of one task must not meet twice, and none is one of `mqe eval`
parts=
part() {
    part=$1; task=$2; episodes=$3; seed=$4; shift 4
    parts="$parts $out/part_$part"
    [ ! -d "$out/part_$part" ] || return 0
    mqe sim collect --stage --task "$task" --episodes "$episodes" --seed "$seed" --workers 2 \
        --randomise observation_delay --out "$out/raw/$part" "$@"
    mqe data import "$out/raw/$part" --out "$out/part_$part" --image-size 128
}
part place4 place4 800 800000
part taken_place4 place4 400 810000 --after-policy "$policy"
part place2 place2 200 820000
part place3 place3 240 830000
part more_place4 place4 600 805000
part reach reach 150 840000
part fourth place4 200 860000 --first-stage 4
part drawer_place drawer_place 200 870000
part more_drawer_place drawer_place 300 504000 --shuffle-stages
part place1 place1 150 506000 --shuffle-stages
part drawer_open drawer_open 60 510000 --shuffle-stages
part drawer_close drawer_close 60 512000 --shuffle-stages
part more_reach reach 80 514000 --shuffle-stages
# shellcheck disable=SC2086
[ -d "$out/scenes" ] || mqe data merge $parts --out "$out/scenes"

if [ -f "$out/$name/config.yaml" ]; then
    [ $# -eq 0 ] || { echo "$out/$name is there: give it no options, or another name" >&2; exit 1; }
    mqe train --resume --out "$out/$name"
else
    # hidden_dims and actor_layer_norm are the policy's. More updates learn the scenes by heart.
    mqe train --data "$out/scenes" --out "$out/$name" --config sim_features --agent gcbc \
        --set features_of="$policy" --begin-from "$policy" --set begin_with=policy \
        --set hidden_dims=[512,512,512] --set actor_layer_norm=true --set actor_goal_trajectory=0.1 \
        --set actor_goal_scene=0.9 --set actor_goals_crossed=true --set actor_stop_radius_m=0.05 \
        --set feature_copies=1 --set augment_probability=0 --set batch_size=256 --set learning_rate=3e-4 \
        --set validation_fraction=0.05 --set steps=800 "$@"
fi
mqe export "$out/$name" --out "$out/$name.onnx"
