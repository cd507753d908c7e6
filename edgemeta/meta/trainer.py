"""The training loop: steps, validation, checkpoints, exact resume."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import LabelledImages, open_source
from ..errors import CheckpointError, DataError, OptionError
from ..terminal import Progress, printable
from . import checkpoint
from .batches import Batches, to_ink
from .config import MOST_STEPS, TrainConfig, check_minutes
from .episodes import EpisodeSampler
from .objectives import CosineClassifier

VALIDATION_EPISODES = 200
VALIDATE_EVERY = 100  # steps, at least; an eighth of the run when that is more
CALIBRATION_STEPS = 12  # to warm up, and as many to measure
FEWEST_STEPS = 48  # of a run with minutes
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Trained:
    """What a finished run says of itself: percent, NaN without held-out data."""

    steps: int
    seconds: float
    validation: float


def train(
    config: TrainConfig,
    out: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> Trained:
    """Train a backbone into the folder `out`; see `edgemeta train --help`.

    minutes: stop after about so many; the speed of a few steps fixes their number, then the run begins and is that of
    `steps` = this number. resume: `config` must be that of the run (`checkpoint.read_config(out)` gives it), and so
    must minutes and init when they are given; only `data` may name another place of the same data.
    Raises DataError, CheckpointError, OptionError. Ctrl-C leaves a checkpoint to resume; a second one does not wait
    for the end of the step, and leaves the checkpoint before it.
    """
    check_minutes(minutes)
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("torch sees no CUDA device here; use --device cpu or auto")
    run = Run(config, out, resume=resume, init=init, device=device, minutes=minutes)
    progress = Progress("train", run.config.steps) if not quiet else None
    try:
        with _interrupts_between_steps(run):
            trained = run.run(progress)
        run.save()
        return trained
    except KeyboardInterrupt:
        if run.whole:
            run.save()
        raise
    finally:
        # Any other error (a loss that is not finite) leaves the last good checkpoint as it is.
        if progress:
            progress.close()


@contextlib.contextmanager
def _interrupts_between_steps(run: Run) -> Iterator[None]:
    """Let Ctrl-C wait for the end of a step: half a step (batch norm moved, weights not) would not resume exactly."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return

    def ask(number: int, frame: object) -> None:
        if run.interrupted:
            run.whole = False  # most likely this is within a step
            raise KeyboardInterrupt
        run.interrupted = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def load_data(config: TrainConfig) -> LabelledImages:
    """The background data of a run, all its sources in one set, in its size and colour."""
    parts = [open_source(spec, part="background").load(config.size, config.size) for spec in config.data]
    labels, domains = [], []
    classes: tuple[str, ...] = ()
    last_domain = 0
    for part in parts:
        labels.append(part.labels + len(classes))
        domains.append(part.domains + last_domain)
        classes += part.classes
        last_domain += int(part.domains.max()) + 1
    pixels = [coloured(part.pixels, config.colour) for part in parts]
    return LabelledImages(np.concatenate(pixels), np.concatenate(labels), classes, np.concatenate(domains))


def coloured(pixels: Any, colour: str) -> Any:
    """Grey (N, H, W) or RGB (N, H, W, 3), whichever the configuration asks for."""
    if colour == "grey" and pixels.ndim == 4:
        return np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    if colour == "rgb" and pixels.ndim == 3:
        return np.repeat(pixels[..., None], 3, axis=3)
    return pixels


def split(data: LabelledImages, config: TrainConfig) -> tuple[LabelledImages, LabelledImages | None]:
    """Training and validation data without a common domain (or class, where there is one domain)."""
    if not config.held_out:
        return data, None
    if len(np.unique(data.domains)) == 1:
        data = replace(data, domains=np.arange(len(data.classes)))
        training, held_out = data.split_domains(config.held_out, 0)
        one = np.zeros(len(held_out.classes), dtype=np.int64)
        return replace(training, domains=np.zeros(len(training.classes), dtype=np.int64)), replace(
            held_out, domains=one
        )
    return data.split_domains(config.held_out, 0)


class Run:
    """One training run in memory."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        *,
        resume: bool,
        init: Path | None,
        device: str,
        minutes: float | None,
    ) -> None:
        self.out, self.minutes = out, minutes
        self.measured = False  # whether the steps that fit into `minutes` are known
        self.init_from = init
        self.init = checkpoint.sha256_of(checkpoint.model_file(init)) if init is not None else None
        record: dict[str, Any] | None = None
        if resume:
            stored, record = checkpoint.read_record(out)
            config = self._same_run(config, stored, record)
        elif (out / "state.safetensors").exists():
            raise CheckpointError(f"{printable(str(out))} holds a run already; add --resume, or name another --out")
        self.device = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
        data = load_data(config)
        self.data_sha256 = data.sha256()
        training, self.validation = split(data, config)
        if record is not None:
            self._check_same_data(training, config, record)
        if self.validation is not None:
            validation_sampler(self.validation, config)  # raises now, not after hours
        self.interrupted = False
        self.whole = True  # whether a checkpoint of what is in memory would resume exactly
        self.best_guess = math.nan
        # Without a state the run was killed before its first save, or while measuring: it begins again.
        saved = (out / "state.safetensors").exists() and (self.minutes is None or self.measured)
        if resume and not saved and init is None and self.init is not None:
            raise CheckpointError("the run was killed before its first save; name its --init again")
        self._begin(config, training, None if saved else init)
        if saved:
            self._resume()
        out.mkdir(parents=True, exist_ok=True)
        self._write_config()

    def _same_run(self, asked: TrainConfig, stored: TrainConfig, record: dict[str, Any]) -> TrainConfig:
        """The configuration to go on with. Raises OptionError for what was asked for and is not the run's."""
        ran = record.get("minutes")
        if ran is not None and asked.steps == TrainConfig.steps:  # not asked for: the minutes have fixed them
            asked = asked.with_steps(stored.steps)
        pairs = {name: (value, stored.to_json()[name]) for name, value in asked.to_json().items() if name != "data"}
        if self.minutes is not None:
            pairs["minutes"] = (self.minutes, ran)
        if self.init is not None:
            pairs["init"] = (self.init, record.get("init"))
        if other := [f"{name} is {was}, not {now}" for name, (now, was) in pairs.items() if now != was]:
            raise OptionError(
                f"--resume goes on with the run as it was started: its {'; its '.join(other)}. "
                "Leave that out, or start another run with another --out"
            )
        self.minutes, self.init = ran, record.get("init")
        self.measured = bool(record.get("measured"))
        return replace(stored, data=asked.data)

    def _check_same_data(self, training: LabelledImages, config: TrainConfig, record: dict[str, Any]) -> None:
        """Raises DataError when these are not the images that the run was started with."""
        named = " and ".join(map(printable, config.data))
        if (record["classes"], record["images"]) != (len(training.classes), len(training)):
            raise DataError(
                f"the run was started with {record['images']} images of {record['classes']} classes; "
                f"{named} now has {len(training)} of {len(training.classes)}"
            )
        # Runs of older versions have no hash.
        if record.get("data_sha256") not in (None, self.data_sha256):
            raise DataError(
                f"the run was started with other images, or in another order, than {named} now has; "
                "name its data with --data, or start another run with another --out"
            )

    def _begin(self, config: TrainConfig, training: LabelledImages, init: Path | None) -> None:
        """Everything as it is before the first step."""
        self.config = config
        self.step, self.seconds, self.saved = 0, 0.0, time.monotonic()
        torch.manual_seed(config.seed)
        self.batches = Batches(training, config, self.device)
        self._build(init)

    def _build(self, init: Path | None) -> None:
        config = self.config
        backbone, objective = checkpoint.build_model(config)
        _seeded_init(backbone, config.seed)
        if init is not None:
            tensors, _ = checkpoint.read_tensors(checkpoint.model_file(init))
            checkpoint.load_into(backbone, tensors, "backbone.", str(init))
        modules = {"backbone": backbone, "objective": objective}
        if config.pretraining_steps:
            modules["classifier"] = CosineClassifier(
                backbone.dim,  # type: ignore[arg-type]
                self.batches.classes,
                margin=config.margin,
            )
        # With weights in the images' own layout a step takes two thirds of the time on a CPU.
        self.model: nn.ModuleDict = nn.ModuleDict(modules).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )

    def _resume(self) -> None:
        path = self.out / "state.safetensors"
        tensors, metadata = checkpoint.read_tensors(path)
        self.step, self.seconds = checkpoint.progress_of(metadata, self.config.steps, str(path))
        checkpoint.load_into(self.model, tensors, "model.", str(path))
        checkpoint.load_optimizer(self.optimizer, tensors, self._trained(), str(path))

    def _trained(self) -> Iterator[Tensor]:
        """The parameters that have had a gradient by now."""
        first = self.config.pretraining_steps
        if self.step > 0:
            yield from self.model["backbone"].parameters()
        if self.step > 0 and first > 0:
            yield from self.model["classifier"].parameters()
        if self.step > first:
            yield from self.model["objective"].parameters()

    def run(self, progress: Progress | None) -> Trained:
        """All steps that are left."""
        if self.minutes is not None and not self.measured:
            self._fix_steps(self.minutes)
            if progress:
                progress.total = self.config.steps
        started = time.monotonic() - self.seconds
        validate_every = max(VALIDATE_EVERY, self.config.steps // 8)
        loss = math.nan
        while self.step < self.config.steps:
            loss_tensor = self._train_step()
            self.step += 1
            if self.interrupted:
                raise KeyboardInterrupt
            self.seconds = time.monotonic() - started
            if self.step % 20 == 0:
                loss = loss_tensor.item()
                if not math.isfinite(loss):
                    raise self._diverged(f"the loss became {loss}")
            if self.step % validate_every == 0:
                self.best_guess = self.validate()
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self.save()
            if progress:
                progress.update(self.step, f"loss {loss:.3f}{self._validated()}")
        self.best_guess = self.validate()
        return Trained(self.step, self.seconds, self.best_guess)

    def _train_step(self) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.model.train()
        loss = self._loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return loss.detach()

    def _loss(self) -> Tensor:
        if self.step < self.config.pretraining_steps:
            x, labels = self.batches.classification(self.step)
            return self.model["classifier"](self._embed(x), labels)  # type: ignore[no-any-return]
        support, query, labels = self.batches.episode(self.step)
        z = self._embed(torch.cat([support, query]))
        ways, shots = self.config.ways, self.config.shots
        scores = self.model["objective"](z[: ways * shots].reshape(ways, shots, -1), z[ways * shots :])
        return F.cross_entropy(scores, labels)

    def _embed(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            z = self.model["backbone"](x.contiguous(memory_format=torch.channels_last))
        return z.float()  # type: ignore[no-any-return]

    def _learning_rate(self) -> float:
        """A short warm-up, then half a cosine, in each of the two phases of "pretrain"."""
        first = self.config.pretraining_steps
        start, end, top = (0, first, 1.0) if self.step < first else (first, self.config.steps, 1.0)
        if self.step >= first > 0:
            top = 0.15
        done = (self.step - start) / max(1, end - start)
        warm = min(1.0, (self.step - start + 1) / 200)
        return self.config.learning_rate * top * warm * 0.5 * (1 + math.cos(math.pi * done))

    def _fix_steps(self, minutes: float) -> None:
        """Measure the speed, then begin again: the steps that measured it knew no number to plan for."""
        self.whole = False
        started = 0.0
        for number in range(2 * CALIBRATION_STEPS):
            if number == CALIBRATION_STEPS:  # the first are slow (allocation, kernel choice)
                started = time.monotonic()
            self._train_step().item()  # which waits for the device
            if self.interrupted:
                raise KeyboardInterrupt
        each = (time.monotonic() - started) / CALIBRATION_STEPS
        steps = min(MOST_STEPS, max(FEWEST_STEPS, round(minutes * 60 / each)))
        self._begin(self.config.with_steps(steps), self.batches.data, self.init_from)
        self.measured = self.whole = True
        self._write_config()

    def validate(self) -> float:
        """Accuracy in percent on fixed episodes of the held-out data; NaN without any."""
        if self.validation is None:
            return math.nan
        return episode_accuracy(self.model["backbone"], self.model["objective"], self.validation, self.config)

    def _validated(self) -> str:
        return "" if math.isnan(self.best_guess) else f"  validation {self.best_guess:.2f} %"

    def _diverged(self, what: str) -> DataError:
        kept = (self.out / "state.safetensors").exists()
        return DataError(
            f"{what} at step {self.step}; start another run with a lower --learning-rate. "
            + ("The checkpoint saved before is kept" if kept else "Nothing had been saved yet")
        )

    def save(self) -> None:
        """Write both checkpoint files; each replaces its predecessor at once or not at all.

        Raises DataError rather than replace a good checkpoint by one that is not finite, CheckpointError.
        """
        if not all(bool(t.isfinite().all()) for t in self.model.state_dict().values()):
            raise self._diverged("the weights became NaN or infinite")
        self.saved = time.monotonic()
        metadata = {"step": self.step, "seconds": round(self.seconds, 1), "validation": str(self.best_guess)}
        state = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        state.update(checkpoint.optimizer_tensors(self.optimizer))
        kept = {k: v for k, v in self.model.state_dict().items() if not k.startswith("classifier.")}
        checkpoint.write_tensors(self.out / "state.safetensors", state, metadata)
        checkpoint.write_tensors(self.out / "model.safetensors", kept, metadata)

    def _write_config(self) -> None:
        record = {
            "config": self.config.to_json(),
            "minutes": self.minutes,
            "measured": self.measured,
            "init": self.init,
            "environment": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "machine": platform.machine(),
                "threads": torch.get_num_threads(),
                "cpus": os.cpu_count(),
            },
            "classes": len(self.batches.data.classes),
            "images": len(self.batches.data),
            "data_sha256": self.data_sha256,
        }
        checkpoint.write_json(self.out / "config.json", record)


def _seeded_init(backbone: nn.Module, seed: int) -> None:
    """He initialisation of the convolutions from the run's seed."""
    generator = torch.Generator().manual_seed(seed)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)


@torch.no_grad()
def embed_all(backbone: nn.Module, pixels: Any, batch: int = 512) -> Tensor:
    """uint8 images of a set to embeddings (N, D) on the backbone's device, batch norm in evaluation mode."""
    training = backbone.training
    backbone.eval()
    device = next(backbone.parameters()).device
    parts = [
        backbone(to_ink(torch.from_numpy(np.ascontiguousarray(pixels[i : i + batch])).to(device)))
        for i in range(0, len(pixels), batch)
    ]
    backbone.train(training)
    return torch.cat(parts)


def validation_sampler(data: LabelledImages, config: TrainConfig) -> EpisodeSampler:
    """Episodes of the held-out data, within a domain where one is large enough. Raises DataError."""
    ways = min(config.ways, len(data.classes))
    if ways < 2:
        raise DataError("one held-out class is always recognised; hold out more, or --held-out 0")
    within = float(int(np.bincount(data.domains).max()) >= ways)
    try:
        return EpisodeSampler(data, ways=ways, shots=config.shots, queries=config.queries, within=within)
    except DataError as error:
        raise DataError(f"the held-out data are too few: {error}, or --held-out 0") from error


@torch.no_grad()
def episode_accuracy(backbone: nn.Module, objective: nn.Module, data: LabelledImages, config: TrainConfig) -> float:
    """Percent right over fixed validation episodes, within one domain where the domains are large enough."""
    z = embed_all(backbone, data.pixels)
    sampler = validation_sampler(data, config)
    ways = sampler.ways
    rng = np.random.default_rng(12345)
    right = []
    for _ in range(VALIDATION_EPISODES):
        episode = sampler.draw(rng)
        scores = objective(z[torch.from_numpy(episode.support)], z[torch.from_numpy(episode.query.ravel())])
        truth = torch.arange(ways, device=z.device).repeat_interleave(episode.query.shape[1])
        right.append((scores.argmax(1) == truth).float().mean().item())
    return 100.0 * float(np.mean(right))
