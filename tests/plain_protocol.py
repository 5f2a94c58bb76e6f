"""The two-phase protocol a second time, as plainly as it can be said: the tests' reference.

One token after another, one W over [c; u], everything in float64, no batched products; nothing of the project is used.
Autograd serves the gradients only; Adam and the clipping are written out.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Layer:
    """`LayerNorm(R x + ReLU(W [c; x] + b))`; a context layer keeps c instead of R x."""

    weight: torch.Tensor  # (out, context_dim + in)
    bias: torch.Tensor
    gain: torch.Tensor
    shift: torch.Tensor
    residual: tuple | None = None  # (weight, bias) of R; None: the identity

    def parameters(self):
        return [self.weight, self.bias, self.gain, self.shift, *(self.residual or ())]


def layer_norm(x, gain, shift):
    mean = x.sum() / len(x)
    variance = ((x - mean) ** 2).sum() / len(x)
    return gain * (x - mean) / torch.sqrt(variance + 1e-5) + shift


def relu(x):
    return x * (x > 0)


def context_layers(block, c, u):
    """The output of every context layer for one token."""
    outputs = []
    for layer in block:
        c = layer_norm(c + relu(layer.weight @ torch.cat([c, u]) + layer.bias), layer.gain, layer.shift)
        outputs.append(c)
    return outputs


def token_layers(block, contexts, u):
    """The last token layer's output for one token; layer l reads the context of layer l."""
    t = u
    for layer, c in zip(block, contexts, strict=True):
        kept = t if layer.residual is None else layer.residual[0] @ t + layer.residual[1]
        t = layer_norm(kept + relu(layer.weight @ torch.cat([c, t]) + layer.bias), layer.gain, layer.shift)
    return t


def windows(tokens, embeddings, num_input_tokens):
    """u_i of every token, zero vectors before the first."""
    width = embeddings.shape[1]
    one, zero = torch.ones(width).double(), torch.zeros(width).double()
    normed = [layer_norm(embeddings[x], one, zero) for x in tokens]
    return [
        torch.cat([normed[j] if j >= 0 else zero for j in range(i - num_input_tokens + 1, i + 1)])
        for i in range(len(tokens))
    ]


class Adam:
    """Adam of Kingma & Ba 2015 behind a clip of the joint gradient norm."""

    def __init__(self, parameters, rate, clip):
        self.parameters, self.rate, self.clip, self.t = parameters, rate, clip, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def step(self, gradients):
        norm = sum(float((g**2).sum()) for g in gradients) ** 0.5
        self.t += 1
        for i, gradient in enumerate(gradients):
            g = gradient * min(1.0, self.clip / norm) if norm > 0 else gradient
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
            m, v = self.m[i] / (1 - 0.9**self.t), self.v[i] / (1 - 0.999**self.t)
            with torch.no_grad():
                self.parameters[i] -= self.rate * m / (torch.sqrt(v) + 1e-8)


def batches(count, size):
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def diversity(outputs):
    mean = sum(outputs) / len(outputs)
    return -torch.sqrt(sum(((c - mean) ** 2).sum() for c in outputs)) / len(outputs)


def phase1(block, u, initial, noise, settings):
    """(contexts of the last sweep, [(loss, cvfp, diversity, rate) of every sweep from the second], censored).

    noise(k, i): the standard normal vector of token i in iteration k.
    """
    parameters = [p for layer in block for p in layer.parameters()]
    adam = Adam(parameters, settings.learning_rate, settings.gradient_clip)
    contexts, history, w = list(initial), [], settings.dist_reg_weight
    for k in range(2, settings.max_iterations + 1):
        made, gradients, losses, settled = [], [torch.zeros_like(p) for p in parameters], [], 0
        parts = batches(len(u), settings.batch_tokens)
        for batch in parts:
            outputs = []
            for i in batch:
                before = contexts[i - 1]  # token 0 reads the last token's: the shift is circular
                if settings.context_noise > 0:
                    before = before + settings.context_noise * noise(k, i)
                outputs.append(context_layers(block, before, u[i])[-1])
            moved = [((c - contexts[i]) ** 2).mean() for c, i in zip(outputs, batch, strict=True)]
            cvfp, diverse = sum(moved) / len(batch), diversity(outputs)
            loss = (1 - w) * cvfp + w * diverse
            for total, part in zip(gradients, torch.autograd.grad(loss, parameters), strict=True):
                total += part / len(parts)
            losses.append([x.item() for x in (loss, cvfp, diverse)])
            settled += sum(m.item() < settings.convergence_threshold for m in moved)
            made += [c.detach() for c in outputs]
        adam.step(gradients)
        contexts = made
        rate = settled / len(u)
        history.append((*np.mean(losses, axis=0), rate))
        if k >= settings.min_iterations and rate >= settings.converged_ratio:
            return contexts, history, False
    return contexts, history, True


def sequential(block, u, width):
    """Contexts of a stream, each from the one before it, the first from zero."""
    contexts, c = [], torch.zeros(width).double()
    for x in u:
        c = context_layers(block, c, x)[-1].detach()
        contexts.append(c)
    return contexts


def cached_layers(block, u, contexts):
    """Every context layer's output, token i reading the context of token i - 1 and the first one zero."""
    zero = torch.zeros_like(contexts[0])
    return [
        [c.detach() for c in context_layers(block, contexts[i - 1] if i > 0 else zero, u[i])] for i in range(len(u))
    ]


def effective_rank(contexts):
    singular = np.linalg.svd(np.asarray(contexts, dtype=np.float64), compute_uv=False)
    p = [s / singular.sum() for s in singular if s > 0]
    return float(np.exp(-sum(x * np.log(x) for x in p)) / np.shape(contexts)[1])


def cross_entropy(logits, target):
    top = logits.max()
    return top + torch.log(torch.exp(logits - top).sum()) - logits[target]


def phase2(block, embeddings, train, val, settings):
    """[(train ppl, val ppl, val accuracy) of every epoch trained], and the index of the best.

    train, val: (tokens, windows, cached layers) of a stream.
    """
    parameters = [p for layer in block for p in layer.parameters()]
    adam = Adam(parameters, settings.learning_rate, settings.gradient_clip)
    history, best = [], 0
    for _ in range(settings.epochs):
        tokens, u, layers = train
        total = 0.0
        for batch in batches(len(tokens) - 1, settings.batch_tokens):
            losses = [
                cross_entropy(embeddings @ token_layers(block, layers[i], u[i]), tokens[i + 1]) for i in batch
            ]
            adam.step(torch.autograd.grad(sum(losses) / len(batch), parameters))
            total += sum(losses).item()
        train_loss = total / (len(tokens) - 1)
        tokens, u, layers = val
        total, right = 0.0, 0
        for i in range(len(tokens) - 1):
            logits = (embeddings @ token_layers(block, layers[i], u[i])).detach()
            total += float(cross_entropy(logits, tokens[i + 1]))
            right += int(logits.argmax()) == tokens[i + 1]
        history.append((np.exp(train_loss), np.exp(total / (len(tokens) - 1)), right / (len(tokens) - 1)))
        if history[-1][1] < history[best][1]:
            best = len(history) - 1
        if len(history) - 1 - best >= settings.patience:
            break
    return history, best
