#!/usr/bin/env bash
# One run on several machines: the same command on each of them. Machines may come and go (1 to NODES of them); what is lost
# when one dies is what came after the last checkpoint. FIRST is the name or address of one of them, which all can reach.
# usage: NODES=2 FIRST=HOST [PORT=29400] [JOB=corolla] [RESTARTS=3] [PROCESSES=gpu] \
#        scripts/train_machines.sh EXPERIMENT --train.accumulate P [corolla train OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
: "${NODES:?how many machines, at most}" "${FIRST:?the name or address of one of them}"
bash scripts/install.sh
# Else a machine that comes later waits in vain for the address of the others (seen with torch 2.14).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec .venv/bin/python -m torch.distributed.run --nnodes "1:$NODES" --nproc-per-node "${PROCESSES:-gpu}" \
    --rdzv-backend c10d --rdzv-endpoint "$FIRST:${PORT:-29400}" --rdzv-id "${JOB:-corolla}" \
    --max-restarts "${RESTARTS:-3}" -m corolla train "$@"
