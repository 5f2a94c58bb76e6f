"""Console logs of trainers, as grammars: what they print, and where tokens and parameters come from."""

from __future__ import annotations

from cvfp_core.ingesting.grammars import Grammar

GRAMMARS = (
    Grammar(
        name="nanogpt", title="console log of nanoGPT",
        points=(
            "step {step}: train loss {train_loss}, val loss {val_loss}",
            "iter {step}: loss {loss}, time {}ms",
        ),
        facts=(
            "tokens per iteration will be: {batch_tokens}", "number of parameters: {params}",
            "vocab_size = {vocab_size}", "n_layer = {num_layers}", "n_embd = {context_dim}",
            "^learning_rate = {learning_rate}", "Overriding: learning_rate = {learning_rate}",
        ),
        follows=("tokens_seen = step * batch_tokens",),
    ),
    Grammar(
        name="build-nanogpt", title="console log of build-nanogpt",
        points=(
            "step {step} | loss: {loss} | lr {learning_rate} | norm: {grad_norm} | dt:",
            "validation loss: {val_loss}", "HellaSwag accuracy: {}={hellaswag}",
        ),
        facts=(
            "total desired batch size: {batch_tokens}", "num decayed parameter tensors: {}, with {decayed} parameters",
            "num non-decayed parameter tensors: {}, with {not_decayed} parameters",
        ),
        follows=("params = decayed + not_decayed", "tokens_seen = step * batch_tokens"),
        signs=("step {step} | loss: {loss} | lr {learning_rate} | norm: {grad_norm} | dt:",),
        ahead=1,
    ),
    Grammar(
        name="build-nanogpt-log", title="log.txt of build-nanogpt",
        points=("^{step} train {train_loss}", "^{step} val {val_loss}", "^{step} hella {hellaswag}"),
    ),
    Grammar(
        name="modded-nanogpt", title="console log of modded-nanogpt",
        points=(
            "step:{step}/{steps} val_loss:{val_loss} train_time:",
            "step:{step}/{steps} train_loss:{train_loss} train_time:",
            "step:{step}/{steps} train_time:",
        ),
    ),
    Grammar(
        name="nanochat", title="console log of nanochat",
        points=(
            "step {step}/{steps} ({}) | loss: {loss} |", "Step {step} | Validation bpb: {val_bpb}",
            "Step {step} | Validation loss: {val_loss}", "Step {step} | CORE metric: {core_metric}",
        ),
        facts=(
            "Number of parameters: {params}", "^total : {params}",
            "^transformer_matrices : {params_non_embedding}", "Total batch size {batch_tokens} =>",
            "Estimated FLOPs per token: {flops_per_token}", "Vocab size: {vocab_size}", '"n_layer": {num_layers}',
            '"n_embd": {context_dim}', "^num_layers: {num_layers}", "^model_dim: {context_dim}",
        ),
        follows=("tokens_seen = step * batch_tokens", "flops = flops_per_token * tokens_seen"),
    ),
    Grammar(
        name="llm-c", title="console log of llm.c",
        points=(
            "step {step}/{steps} | loss {loss} (", "step {step}/{steps} | train loss {loss} |",
            "| lr {learning_rate} |", "val loss {val_loss}", "HellaSwag: {}/{} = {hellaswag}",
        ),
        facts=(
            "| num_parameters | {params} |", "| total batch size | {batch_tokens} |", "| num_layers L | {num_layers} |",
            "| channels C | {context_dim} |", "| vocab_size V | {vocab_size} |",
            "| learning rate (LR) | {learning_rate} |", "| train_num_batches | {steps} |",
        ),
        follows=("tokens_seen = step * batch_tokens",),
        signs=("step {step}/{steps} | loss {loss} (", "step {step}/{steps} | train loss {loss} |"),
    ),
    Grammar(
        name="llm-c-log", title="main.log of llm.c",
        points=("^s:{step} trl:{train_loss} lr:{learning_rate} norm:{grad_norm}", "^s:{step} tel:{val_loss}",
                "^s:{step} eval:{hellaswag}"),
    ),
    Grammar(
        name="megatron", title="console log of Megatron-LM or GPT-NeoX",
        points=(
            "iteration {step}/ {steps} |", "consumed samples: {samples_seen} |", "consumed tokens: {tokens_seen} |",
            "learning rate: {learning_rate} |", "global batch size: {batch_size} |", "lm loss: {loss} |",
            "lm_loss: {loss} |", "grad norm: {grad_norm} |",
            "validation loss at iteration {step} | lm loss value: {val_loss} |",
            "validation results at iteration {step} | lm_loss value: {val_loss} |",
            "validation loss at iteration {step} on validation set | lm loss value: {val_loss} |",
            "validation loss at iteration {step} on test set | lm loss value: {test_loss} |",
            "for val data | lm loss value: {val_loss} |", "for test data | lm loss value: {test_loss} |",
        ),
        facts=(
            "number of parameters on (tensor, pipeline) model parallel rank ({}, {}): {+params}",
            "total params: {params}", "Total number of parameters in billions: {billion_params}",
            "^seq_length .{} {seq_length}", "^train_batch_size .{} {train_batch_size}",
            "^num_layers .{} {num_layers}", "^hidden_size .{} {context_dim}",
            "^padded_vocab_size .{} {vocab_size}", "^seed .{} {seed}",
            "^tensor_model_parallel_size .{} {tensor_parallel}",
            "^pipeline_model_parallel_size .{} {pipeline_parallel}",
        ),
        follows=("tokens_seen = samples_seen * seq_length", "tokens_seen = step * train_batch_size * seq_length",
                 "params = billion_params * 1e9"),
        signs=("iteration {step}/ {steps} | consumed samples:", "iteration {step}/ {steps} | elapsed time",
               "validation loss at iteration {step} |", "validation results at iteration {step} |"),
        parts=("tensor_parallel", "pipeline_parallel"),
    ),
    Grammar(
        name="torchtitan", title="console log of torchtitan",
        points=(
            "validate step: {step} loss: {val_loss}",
            "step: {step} loss: {loss} grad_norm: {grad_norm} memory:", "step: {step} loss: {loss} memory:",
        ),
        facts=("size: {params} total parameters", "global batch size {batch_size},", "sequence length {seq_length},",
               "total steps {steps}"),
        follows=("tokens_seen = step * batch_size * seq_length",),
    ),
    Grammar(
        name="olmo", title="console log of OLMo or OLMo-core",
        points=("[step={step}/", "{key:train/}={value}", "{key:eval/}={value}", "{key:optim/}={value}",
                "{key:throughput/total}={value}"),
        facts=("Total number of parameters: {params}", "Number of non-embedding parameters: {params_non_embedding}",
               "with {params} total params, {params_non_embedding} non-embedding params"),
        names={
            "train/CE loss": "train_loss", "train/CrossEntropyLoss": "train_loss", "train/PPL": "train_ppl",
            "train/Perplexity": "train_ppl", "throughput/total tokens": "tokens_seen",
            "throughput/total_tokens": "tokens_seen", "optim/LR*": "learning_rate",
            "optim/learning_rate_group0": "learning_rate", "eval/*/CrossEntropyLoss": "eval/*/loss",
            "eval/lm/*/CE loss": "eval/*/loss",
        },
        signs=("train/CE loss={}", "train/CrossEntropyLoss={}"),
    ),
    Grammar(
        name="composer", title="console log of Composer or LLM Foundry",
        points=("[epoch={epoch}][batch={step}/{epoch_steps}]", "[batch={step}/{steps}]", "Train {key}: {value}",
                "Eval {key}: {value}"),
        facts=("^n_params: {params}", "^global_train_batch_size: {batch_size}", "^max_seq_len: {seq_length}",
               "^d_model: {context_dim}", "^n_layers: {num_layers}", "^vocab_size: {vocab_size}"),
        names={
            "metrics/train/LanguageCrossEntropy": "train_loss", "LanguageCrossEntropy": "train_loss",
            "metrics/eval/LanguageCrossEntropy": "val_loss", "metrics/*/LanguageCrossEntropy": "eval/*/loss",
            "metrics/train/LanguagePerplexity": "train_ppl", "Perplexity": "train_ppl", "lr-*": "learning_rate",
            "time/token": "tokens_seen",
        },
        follows=("tokens_seen = step * batch_size * seq_length", "epochs = step / epoch_steps"),
        signs=("Train loss/train/total: {}", "Train LanguageCrossEntropy: {}",
               "Train metrics/train/LanguageCrossEntropy: {}"),
    ),
    Grammar(
        name="hf-console", title="printed dictionaries of Hugging Face Trainer",
        points=("'{key}': {value}", "'{key}': '{value}'"),
        facts=("Number of trainable parameters = {params}",),
        names={"train_loss": "train_loss_of_all_steps", "epoch": "epochs"},
        signs=("{'loss': ...'epoch': ", "{'eval_loss': ...'epoch': "),
        counted_by="epochs",
    ),
)
