#!/bin/sh
# One data set of single stages, one image encoder, several ways to learn on its features, eight tasks. From the
# project's root:
#
#     make learn && . .venv/bin/activate && sh benchmarks/experiment.sh runs/experiment
#
# Hours on two cores; docs/results.md says what came out. Every step continues where it was interrupted. Less of it:
# METHODS="mqe gcbc" for some of the methods, PERCENT=50 for half of the episodes, ENCODER=policy.onnx for the encoder
# of a policy that is there instead of a new one.
set -eu
out=$1
workers=${WORKERS:-2}
# And shipped, where the encoder is trained here.
methods=${METHODS:-"mqe gcbc gciql tra mqe_no_q mqe_one_step mqe_no_invariance"}
episodes=${EPISODES:-50}
percent=${PERCENT:-100}
encoder=${ENCODER:-"$out/encoder"}

# Pictures up to 80 ms old and commands up to 80 ms late, as they are through the ROS graph.
collect() {
    mqe sim collect --stage --task "$1" --episodes $(($2 * percent / 100)) --seed 0 --workers "$workers" \
        --randomise observation_delay --out "$out/raw/$1"
}
if [ ! -d "$out/store" ]; then
    collect place4 4200; collect place3 700; collect place2 2140; collect place1 900
    collect drawer_place 1100; collect drawer_open 250; collect drawer_close 250; collect reach 250
    mqe sim check "$out/raw"
    mqe data import "$out/raw" --out "$out/store" --image-size 64
fi

# learn RUN OPTIONS...: train to the end of its steps, whatever was done before
learn() {
    run=$1; shift
    if [ -f "$run/config.yaml" ]; then
        mqe train --resume --out "$run"
    else
        mqe train --data "$out/store" --out "$run" --seed 0 "$@"
    fi
}
[ -n "${ENCODER:-}" ] || learn "$out/encoder" --config sim_encoder

# The baselines as published: actor goals from the row's own episode. MQE's mostly from where episodes of the scene end,
# crossed (eq. 15: goals of other rows); an episode's last frames, where the hand comes to rest, meet none of a later
# episode.
scene_goals="--set actor_goal_trajectory=0.1 --set actor_goal_scene=0.9 --set actor_goals_crossed=true"
stop="--set actor_stop_radius_m=0.05"
options() {
    case $1 in
        mqe) echo --agent mqe $scene_goals $stop --set q_weight=0.1 ;;
        mqe_no_q) echo --agent mqe $scene_goals $stop --set q_weight=0.0 ;;
        mqe_one_step) echo --agent mqe $scene_goals $stop --set q_weight=0.1 --set next_state_sample=1.0 ;;
        mqe_no_invariance) echo --agent mqe $scene_goals $stop --set q_weight=0.1 --set invariance_weight=0.0 ;;
        # Begins as the encoder's own policy, so with the 36,000 updates of cloning behind it. Shipped until 804e353; it
        # is older than the stop.
        shipped) echo --agent mqe $scene_goals --set q_weight=0.1 --begin-from "$encoder" --set begin_with=policy ;;
        *) echo --agent "$1" ;;
    esac
}
for method in $methods; do
    # shellcheck disable=SC2046
    learn "$out/$method" --config sim_features --set features_of="$encoder" --set threads=1 $(options "$method")
    mqe export "$out/$method" --out "$out/$method/policy.onnx"
    for task in place1 place2 place3 place4 drawer_open drawer_close drawer_place reach; do
        [ -f "$out/$method/$task/result.json" ] ||
            mqe eval --policy "$out/$method/policy.onnx" --task "$task" --episodes "$episodes" --seed 0 \
                --workers "$workers" --out "$out/$method/$task"
    done
done
python benchmarks/results_table.py "$out"
