#!/bin/sh
# One data set of single stages, eight ways to learn from it, eight tasks. docs/results.md says how far this has been run. From the project's root:
#
#     make learn && . .venv/bin/activate && sh benchmarks/experiment.sh runs/experiment
#
# Hours on two cores. Every step continues where it was interrupted; METHODS="mqe gcbc" does some of it.
set -eu
out=$1
workers=${WORKERS:-2}
methods=${METHODS:-"mqe gcbc gcbc_scene_goals tra gciql mqe_no_q mqe_one_step mqe_no_invariance"}
episodes=${EPISODES:-50}
steps=12000

collect() { mqe sim collect --stage --task "$1" --episodes "$2" --seed 0 --workers "$workers" --out "$out/raw/$1"; }
if [ ! -d "$out/store" ]; then
    collect place4 4000; collect place3 1500; collect place2 2000; collect place1 900
    collect drawer_place 2000; collect drawer_open 800; collect drawer_close 500; collect reach 200
    mqe sim check "$out/raw"
    mqe data import "$out/raw" --out "$out/store" --image-size 64
fi

# The baselines as published: actor goals from the row's own episode. MQE's mostly from where episodes of the scene end (eq. 15: goals of other rows).
scene_goals="--set actor_goal_trajectory=0.2 --set actor_goal_scene=0.8"
options() {
    case $1 in
        mqe) echo --agent mqe $scene_goals ;;
        mqe_no_q) echo --agent mqe $scene_goals --set q_weight=0.0 ;;
        mqe_one_step) echo --agent mqe $scene_goals --set next_state_sample=1.0 ;;
        mqe_no_invariance) echo --agent mqe $scene_goals --set invariance_weight=0.0 ;;
        gcbc_scene_goals) echo --agent gcbc $scene_goals ;;
        *) echo --agent "$1" ;;
    esac
}
for method in $methods; do
    run=$out/$method
    if [ ! -f "$run/config.yaml" ]; then
        # shellcheck disable=SC2046
        mqe train --data "$out/store" --out "$run" --config sim_pixels --steps "$steps" --seed 0 --set threads=1 --set batch_scenes=32 $(options "$method")
    else
        mqe train --resume --out "$run"
    fi
    mqe export "$run" --out "$run/policy.onnx"
    for task in place1 place2 place3 place4 drawer_open drawer_close drawer_place reach; do
        [ -f "$run/$task/result.json" ] ||
            mqe eval --policy "$run/policy.onnx" --task "$task" --episodes "$episodes" --seed 0 --workers "$workers" --out "$run/$task"
    done
done
python benchmarks/results_table.py "$out"
