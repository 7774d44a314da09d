"""The sections of a run's settings. The text under each field is its help on the command line.

Fields made with `runtime_only` may change between two starts of one run; all the others decide its result. Fields made
with `setting` say what they need to have an effect (config/needs.py); config/checks.py turns that into notes and
refusals.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict

from corolla.config.needs import (
    BOTTLENECKS,
    COLOR,
    ERASE,
    FOLD,
    LABELS_COUNT,
    MIXING,
    NO_CHECKPOINT,
    OWN_NETWORK,
    PCA_NOISE,
    PLATEAU_OR_STEP,
    RAND_AUGMENT,
    RANDOM_CROP,
    RANDOM_WEIGHTS,
    RESNET_CROP,
    SGD,
    SHORTCUTS,
    SOME_IMBALANCE,
    STEM_TO_CHOOSE,
    TEACHER,
    VALIDATES,
    Need,
    auto_augment_refusals,
    device_refusals,
    fold_refusals,
    mostly_runtime_only,
    runtime_only,
    schedule_refusals,
    setting,
    stop_early_refusals,
    weights_refusals,
)
from corolla.config.networks import is_own
from corolla.config.values import (
    Accumulate,
    Ascending,
    Aspect,
    Count,
    Decay,
    Fold,
    NonNegative,
    NonNegativeInt,
    Positive,
    Probability,
    Sha256,
    Share,
    Side,
)


class Section:
    """Unknown keys and wrong types are errors in every section; a number is never read from a string."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    name: str = "resnet34"
    """plain18, plain34, resnet18, resnet34, resnet50, resnet101, resnet152, and resnet26 with two bottlenecks a stage;
    for images of about 32 px resnet20, resnet32, resnet44, resnet56, resnet110, plain20, plain32, plain44, plain56,
    plain110 (6n + 2 layers, He et al. 2015, section 4.2; the paper's have --model.shortcut A); or timm:NAME for any
    model of timm, among them timm:resnet50d, seresnet50, resnext50_32x4d, wide_resnet50_2, ecaresnet50d; without
    normalisation nf_resnet50, nfnet_f0 and dm_nfnet_f0."""
    weights: str = setting("none", NO_CHECKPOINT, refusals=weights_refusals)
    """none (from scratch), pretrained (timm's hub), package (EfficientNet-Lite0 from its pip package, no network), or a
    file: a state dict, safetensors, or the checkpoint of another run."""
    pretrained_tag: str = setting("", Need("--model.weights pretrained", lambda c: c.model.weights == "pretrained"))
    """Tag of the pretrained weights in timm (a1_in1k, ...); empty: the model's default."""
    shortcut: Literal["A", "B", "C"] = setting("B", OWN_NETWORK, SHORTCUTS)
    """Shortcuts of the own ResNets (He et al. 2015, section 4.1): A zero padding, B projection where dimensions grow,
    C projection everywhere."""
    init: Literal["he", "he-fan-in", "xavier"] = setting("he", OWN_NETWORK)
    """Initialisation of the convolutions: he (He et al. 2015, "Delving deep", section 2.2: fan-out, the backward case),
    he-fan-in (the forward case there) or xavier (Glorot and Bengio 2010). The gain of he is relu's with every
    --model.activation."""
    stride_in_1x1: bool = setting(False, BOTTLENECKS)
    """Bottlenecks stride in their first 1x1, as in the paper (3.86 G multiply-adds), not in the 3x3 (4.09 G; ResNet-B
    of He et al. 2018, section 4.2)."""
    stem: Literal["7x7", "3x3", "small", "small-pool"] = setting(
        "7x7",
        Need(
            "an own network (timm has 3x3 in timm:resnet50d)", lambda c: c.model.stem != "3x3" or is_own(c.model.name)
        ),
        STEM_TO_CHOOSE,
    )
    """First layers of the own ResNets. 3x3: three 3x3 (ResNet-C, He et al. 2018, section 4.2); small: one 3x3 of stride
    1 and no max pool, for images of 32 to 64 px (He et al. 2015, section 4.2); small-pool: that with the max pool.
    timm's ResNets take small and small-pool too; 7x7 leaves theirs as it is. resnet20 and the others of 6n + 2 layers
    have one 3x3 of 16 channels."""
    avg_shortcut: bool = setting(
        False, OWN_NETWORK, SHORTCUTS, Need("a --model.shortcut that has 1x1 (B, C)", lambda c: c.model.shortcut != "A")
    )
    """Own ResNets: 2x2 average pool before a shortcut's 1x1, which strides no more (ResNet-D, He et al. 2018, section
    4.2)."""
    activation: Literal["relu", "silu", "gelu"] | None = None
    """Activation (silu: Ramachandran et al. 2017, "Swish"; gelu: Hendrycks and Gimpel 2016). Default: the model's own;
    the own ResNets' is relu."""
    width: Annotated[Positive, Le(100)] = setting(1.0, OWN_NETWORK)
    """Own ResNets: channels times this, rounded to 8 (Zagoruyko and Komodakis 2016)."""
    zero_gamma: bool | None = setting(None, SHORTCUTS, RANDOM_WEIGHTS, NO_CHECKPOINT)
    """The last batch norm of each residual block starts at 0 (Goyal et al. 2017, section 5.1; He et al. 2018, section
    3.1). Default: the model's own, which is off for the own ResNets and on for timm's."""
    dropout: Decay = 0.0
    """Dropout before the classifier (Srivastava et al. 2014)."""
    drop_path: Decay = setting(0.0, SHORTCUTS)
    """Stochastic depth, up to this rate in the last block (Huang et al. 2016)."""
    freeze_norms: bool = setting(
        False, Need("--model.weights or --init-from", lambda c: c.model.weights != "none" or bool(c.init_sha256))
    )
    """Batch norms stay as the weights have them, statistics, scale and shift (He et al. 2015, appendix A)."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Section):
    crop: Literal["resnet", "random-resized"] = "resnet"
    """resnet: shorter side drawn per image from --augment.shorter-side, then a random crop (He et al. 2015, section
    3.4); random-resized: a crop of random area and aspect (Szegedy et al. 2015; the baseline of He et al. 2018)."""
    shorter_side: Annotated[tuple[Side, Side], Ascending] = setting((256, 480), RESNET_CROP)
    """Range of the shorter side for crop resnet, in pixels at input size 224; scaled with the input size."""
    area: Annotated[tuple[Share, Share], Ascending] = setting((0.08, 1.0), RANDOM_CROP)
    """Range of the crop's share of the photo's area, for crop random-resized."""
    aspect: Annotated[tuple[Aspect, Aspect], Ascending] = setting((3 / 4, 4 / 3), RANDOM_CROP)
    """Range of the crop's aspect ratio, drawn log-uniformly, for crop random-resized."""
    flip: bool = True
    """Mirror half of the images."""
    color: bool = False
    """Draw brightness, contrast and saturation, as the script of He et al. 2018 does, and with --augment.hue the hue.
    Off by default: colour tells flowers apart."""
    brightness: NonNegative = setting(0.4, COLOR)
    """With --augment.color: brightness times [1 - b, 1 + b] (He et al. 2018, section 2.1)."""
    contrast: NonNegative = setting(0.4, COLOR)
    """With --augment.color: distance of each pixel from the image's mean grey times [1 - c, 1 + c], which the script of
    He et al. 2018 has and their text has not."""
    saturation: NonNegative = setting(0.4, COLOR)
    """With --augment.color: saturation times [1 - s, 1 + s]."""
    hue: Annotated[float, Ge(0), Le(0.5)] = setting(0.0, COLOR)
    """With --augment.color: hue turned by [-h, h] of the full circle, which the text of He et al. 2018 has and their
    script has not; 0: not at all, as flowers are told apart by it."""
    pca_noise: NonNegative = 0.0
    """Standard deviation of the PCA colour noise (Krizhevsky et al. 2012, section 4.1); 0.1 in the papers, 0 is off."""
    pca_axes: Literal["data", "imagenet"] = setting("data", PCA_NOISE)
    """Colours along which --augment.pca-noise goes: data (the training photos' eigenvectors, times the roots of their
    eigenvalues) or imagenet (ImageNet's as in the script of He et al. 2018: at 0.1 standard deviations of 5.5, 0.5 and
    0.1 grey levels)."""
    erase: Probability = 0.0
    """Random erasing (Zhong et al. 2020): the share of images a rectangle of which is painted over; 0: off."""
    erase_area: Annotated[tuple[Share, Share], Ascending] = setting((0.02, 0.33), ERASE)
    """Range of the erased share of the image, for --augment.erase; its aspect is drawn from 0.3 to 1 / 0.3,
    log-uniformly. Where ten rectangles do not fit, as most of a large area do not, the image stays as it is."""
    erase_fill: Literal["noise", "mean"] = setting("noise", ERASE)
    """Content of the rectangle of --augment.erase: noise (every pixel random, as Zhong et al. found best) or the mean
    colour of the data set."""
    cutout: Probability = 0.0
    """Cutout (DeVries and Taylor 2017): a square of the data set's mean colour in each image, its side as a share of
    the input size, its centre anywhere, so that parts of it may lie outside; 0: off."""
    rand_augment: Annotated[int, Ge(0), Le(16)] = 0
    """RandAugment (Cubuk et al. 2020): so many operations (N in the paper, 2 for its ResNet-50) on each image, drawn of
    fourteen: shear, translate and rotate, colours, sharpness, posterize, solarize, autocontrast, equalize; ranges as in
    torchvision. It comes after the mirror and before --augment.color; 0: off."""
    rand_augment_magnitude: Annotated[float, Ge(0), Le(30)] = setting(9.0, RAND_AUGMENT)
    """With --augment.rand-augment: the strength (M in the paper, whose scale goes to 30; 9 for its ResNet-50)."""
    trivial_augment: bool = setting(False, refusals=auto_augment_refusals)
    """TrivialAugment (Müller and Hutter 2021), with its wide ranges as in torchvision: one operation on each image, and
    its strength, are drawn; the operations are those of --augment.rand-augment, in whose place it is."""
    start_size: Count | None = setting(
        None,
        Need(
            "an --input-size above it",
            lambda c: c.input_size is None or c.augment.start_size is None or c.augment.start_size < c.input_size,
        ),
    )
    """Progressive resizing (Howard 2018; Tan and Le 2021, section 4.2): the first epoch's images have this side, in
    pixels, and the later ones grow to the input size by steps of 32 (of 16 where the input is below 128). Evaluation
    is always at the input size. None: off."""
    grow_epochs: Share = setting(0.75, Need("--augment.start-size", lambda c: c.augment.start_size is not None))
    """With --augment.start-size: the share of the epochs over which images grow, linearly; then they are full size."""
    crop_fraction: Annotated[float, Ge(0.1), Le(1)] | None = None
    """Evaluation resizes the shorter side to input size / this, then crops the centre. None: the weights' own value,
    0.875 from scratch."""
    normalise: Literal["train", "train+val", "imagenet"] = setting("train", RANDOM_WEIGHTS, NO_CHECKPOINT)
    """From scratch: mean and standard deviation by which pixels are normalised, of the training photos, of these and
    val's (whose labels are not looked at), or ImageNet's. Weights bring their own, so beside them it is refused."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Section):
    name: Literal["sgd", "adamw"] = "sgd"
    """The optimizer."""
    lr: Positive = 0.1
    """Peak learning rate."""
    lr_batch: NonNegativeInt = 0
    """Batch size for which --optim.lr is meant; it is scaled with --train.batch-size (Goyal et al. 2017, section 2.1;
    256 in He et al. 2018, section 3.1). 0: --optim.lr is taken as it is."""
    head_lr: Positive = 1.0
    """Factor on the learning rate of the classifier."""
    layer_decay: Share = 1.0
    """Each layer's learning rate is that of the next one towards the classifier times this (Clark et al. 2020, ELECTRA,
    appendix B; the own ResNets count stem, stages, four or three, and classifier). 1: the same rate everywhere."""
    momentum: Decay = setting(0.9, SGD)
    """Momentum of SGD."""
    nesterov: bool = setting(False, SGD, Need("--optim.momentum above 0", lambda c: c.optim.momentum > 0))
    """Nesterov's momentum for SGD (Sutskever et al. 2013)."""
    betas: tuple[Decay, Decay] = setting((0.9, 0.999), Need("--optim.name adamw", lambda c: c.optim.name == "adamw"))
    """Betas of AdamW."""
    weight_decay: NonNegative = 1e-4
    """Weight decay (coupled for SGD, decoupled for AdamW: Loshchilov and Hutter 2019)."""
    decay_norms: bool = setting(True, Need("--optim.weight-decay above 0", lambda c: c.optim.weight_decay > 0))
    """Decay biases and normalisation weights too, as the ResNet paper does (off: He et al. 2018, section 3.1)."""
    schedule: Literal["plateau", "step", "cosine", "constant", "one-cycle"] = setting(
        "plateau", refusals=schedule_refusals
    )
    """plateau: times --optim.factor when val loss no longer falls; step: times it at --optim.milestones; cosine: to 0
    at the end (Loshchilov and Hutter 2017); one-cycle: from lr / 25 up to lr, then down to lr / 250000 (Smith 2018;
    half cosines as in torch's OneCycleLR, at constant momentum)."""
    one_cycle_start: Annotated[float, Gt(0), Lt(1)] = setting(
        0.25, Need("--optim.schedule one-cycle", lambda c: c.optim.schedule == "one-cycle")
    )
    """Share of all steps in which schedule one-cycle rises."""
    warmup_epochs: NonNegative = setting(
        0.0,
        Need(
            "a schedule other than one-cycle, which has a rise of its own (--optim.one-cycle-start)",
            lambda c: c.optim.schedule != "one-cycle",
        ),
    )
    """Linear warm-up (Goyal et al. 2017, section 2.2)."""
    patience: NonNegativeInt = setting(7, Need("--optim.schedule plateau", lambda c: c.optim.schedule == "plateau"))
    """Epochs without a lower val loss that schedule plateau waits through."""
    factor: Annotated[float, Gt(0), Lt(1)] = setting(0.1, PLATEAU_OR_STEP)
    """Factor by which schedules plateau and step multiply the learning rate."""
    milestones: tuple[Share, ...] = setting(
        (0.25, 0.5, 0.75), Need("--optim.schedule step", lambda c: c.optim.schedule == "step")
    )
    """Where schedule step lowers the learning rate, as shares of all epochs (30, 60, 90 of 120)."""
    clip_norm: NonNegative = 0.0
    """Largest norm of the gradient (Pascanu et al. 2013); 0: no clipping."""
    agc: NonNegative = 0.0
    """Adaptive gradient clipping: largest norm of a unit's gradient as a share of its weights' norm, in every layer but
    the classifier, for networks without normalisation (Brock et al. 2021, section 4; 0.01 for batches of 4096, up to
    0.16 for small ones); 0: off."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    epochs: Count = 70
    """Passes over the training images, each followed by validation."""
    repeat: Annotated[int, Ge(1), Le(1000)] = 1
    """An epoch shows every photo that often, each time with a crop of its own: it has that many times the updates, and
    what counts epochs (--optim.patience, --optim.warmup-epochs) lasts that much longer. 4 makes epochs as long as those
    of the ResNet report, which mixed the photos' four sizes."""
    batch_size: Count = 256
    """Images per update."""
    accumulate: Accumulate = 1
    """Send each batch through the network in this many parts, to save memory; the update stays one. Batch norm sees one
    part at a time, so it decides the result. auto: as few as the memory of a CUDA device allows, 1 elsewhere; the
    number found is what config.json holds."""
    head_epochs: NonNegativeInt = 0
    """For so many epochs the classifier trains alone, batch norms in evaluation mode; then everything does (LP-FT,
    Kumar et al. 2022). The schedule covers both phases."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Decides the initial weights, the order of the images and every augmentation."""
    on: Literal["train", "train+val"] = "train"
    """train, or train+val: the photos of both, for the last training before a submission. Nothing is validated then:
    there are no scores and no best.pt, last.pt takes its place, and --train.epochs are those that a run with val has
    chosen."""
    fold: Fold = setting(None, refusals=fold_refusals)
    """K/N, such as 1/5: cross-validation. The photos of train and val are put into N folds, stratified, near duplicates
    in one; fold K is validated on and the others are learned. corolla predict RUN1 ... RUNN --split oof joins them."""
    folds_sha256: Sha256 = setting("", FOLD)
    """SHA-256 of the folds that --train.fold is one of (folds.json in the run's folder). It is filled in; where it is
    given, other folds are refused."""
    share: Share = 1.0
    """Train on this fraction of each class's photos, chosen by the seed; a larger one holds every smaller one."""
    corrections: Path | None = runtime_only(None)
    """A CSV with columns id and action, as corolla audit --csv writes it and a person fills it: drop leaves a training
    photo out, label=N (or its name) gives it another class. Photos that are validated on, and test, stay as they are;
    those of val are training photos with --train.on train+val, and with --train.fold in the other folds."""
    corrections_sha256: Sha256 = ""
    """SHA-256 of the CSV of --train.corrections. It is filled in; where it is given, another file is refused."""
    label_smoothing: Decay = setting(0.0, LABELS_COUNT)
    """Label smoothing (Szegedy et al. 2016, section 7)."""
    mixup: NonNegative = 0.0
    """Mixup (Zhang et al. 2018): alpha of the Beta distribution of a batch's mixing share; 0.2 in the paper's ImageNet
    runs, 0: off. With --train.cutmix, each batch has the one or the other."""
    cutmix: NonNegative = 0.0
    """CutMix (Yun et al. 2019): alpha of the Beta distribution of the share that is kept; 1 in the paper, 0: off."""
    mix_share: Share = setting(1.0, MIXING)
    """Share of the batches that --train.mixup and --train.cutmix mix."""
    mix_off_epochs: NonNegativeInt = setting(0, MIXING)
    """Last epochs without mixing (He et al. 2019, "Data augmentation revisited")."""
    balance: Probability = 0.0
    """Balanced sampling: a class of n photos is shown n^(1 - this) times, up to a factor (Kang et al. 2020): 0 as
    often as it has photos, 0.5 by the square root, 1 every class alike. Epochs keep their length."""
    class_balance: Decay = setting(0.0, SOME_IMBALANCE, LABELS_COUNT)
    """Class-balanced loss (Cui et al. 2019): beta of the effective number of photos, by whose inverse each class's loss
    is weighted; 0.9 to 0.9999 in the paper, 0: off."""
    logit_adjustment: NonNegative = setting(0.0, SOME_IMBALANCE, LABELS_COUNT)
    """Logit adjustment in the loss (Menon et al. 2021): the log of each class's share of what training sees, times
    this tau, is added to its logit; 1 in the paper, 0: off."""
    teacher: str = setting("", Need("--train.distill-weight above 0", lambda c: c.train.distill_weight > 0))
    """Knowledge distillation (Hinton et al. 2015): the folder of a run (its best.pt) or a checkpoint of the same
    classes, whose outputs are learned along with the labels; empty: off."""
    distill_temperature: Positive = setting(4.0, TEACHER)
    """With --train.teacher: temperature by which both networks' logits are divided."""
    distill_weight: Probability = setting(0.5, TEACHER)
    """With --train.teacher: the teacher's share of the loss; the labels have the rest."""
    ema: Decay = 0.0
    """Decay of the moving average of the weights per update, evaluated in their place (Polyak and Juditsky 1992; with
    timm's warm-up of the decay); 0: off."""
    select_by: Literal["macro_f1", "val_loss"] = setting("macro_f1", VALIDATES)
    """Score on val by which best.pt is chosen."""
    stop_early: NonNegativeInt = setting(0, refusals=stop_early_refusals)
    """End training when the score of --train.select-by has not been better than the best for so many epochs (Goodfellow
    et al. 2016, algorithm 7.1); those of --train.head-epochs and of a rising learning rate do not count. 0: off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where it is native (CUDA capability 8.0, CPUs with AVX512-BF16 or AMX), fp16 on older GPUs, else
    fp32, as for depthwise convolutions that a CPU trains."""
    channels_last: bool = True
    """Keep activations in NHWC order."""
    compile: bool = False
    """Have torch.compile make one program of the network: minutes at the start (a line tells how many; 25 to 34 s for
    ResNet-18 at 64 px on an H100), faster steps; it needs a C++ compiler, and rounds in another way."""
    deterministic: bool = False
    """On CUDA: the same bits every time, somewhat slower. A CPU needs no switch."""
    checkpoint_minutes: Positive = runtime_only(5.0)
    """Minutes between checkpoints within an epoch; there is one at each epoch's end in any case."""
    keep_every: NonNegativeInt = runtime_only(0)
    """Also keep the checkpoint of every N-th epoch, as epoch-NNN.pt; 0: none."""
    max_hours: Positive | None = runtime_only(None)
    """Stop after so many hours with a checkpoint to resume from (exit status 75). Default: no limit; in a Kaggle
    notebook what its session has left, less half an hour."""
    fit_hours: Positive | None = runtime_only(None)
    """Choose, in place of --train.epochs, as many epochs as fit into so many hours on this machine: an epoch is
    measured, and the schedule is whole. A run keeps its number. (--train.max-hours cuts.)"""
    log_steps: Count = runtime_only(10)
    """Steps between two points of the loss curve in TensorBoard."""

    @property
    def num_parts(self) -> int:
        """Parts of each batch; 1 where it is still to be found."""
        return 1 if self.accumulate == "auto" else self.accumulate


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(Section):
    workers: NonNegativeInt | None = runtime_only(None)
    """Processes that decode and augment; 0: none but the main one; default: by the number of cores."""
    bad_images: Literal["stop", "grey"] = "stop"
    """A JPEG that does not decode stops the work, or is replaced by a grey image with a warning."""
    cache: Literal["auto", "off", "encoded", "decoded", "device"] = mostly_runtime_only(
        "auto", "device", refusals=device_refusals
    )
    """Keep photos between epochs: encoded (their files, in memory), decoded (their pixels, in a mapped file beside the
    index), off; auto: decoded where half of the free memory holds it, else encoded where it fits. No pixel depends on
    it but on device: photos for training lie, decoded, in the memory of the card, which crops and changes whole
    batches, by the same draws, to pixels that differ by a grey level here and there. A new run's auto takes it on a
    CUDA card of which it needs a third of the free memory at most, without --train.deterministic, --augment.hue,
    --augment.pca-noise, noise of --augment.erase, --augment.rand-augment and --augment.trivial-augment."""
