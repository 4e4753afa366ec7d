"""The schemas of the stages of a recipe, and which of their keys go together.

A key that has no effect beside the others is refused, with the reason; one that is left out where
it has takes its default, so that a resolved recipe is complete.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from holotype.progress import pluralize
from holotype.training.config.augmentation_config import Augmentation, MixRecipe
from holotype.training.config.recipe_base import RecipeSection

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
PositiveValues = Annotated[tuple[Positive, ...], Field(min_length=1)]
Folds = Annotated[int, Field(ge=2, le=20)]
Trainable = int | str | tuple[str, ...]
LAYERS_PATTERN = re.compile(r"([1-9]\d*) layers?")


@dataclass(frozen=True)
class KeyRule:
    """A key that has an effect only beside certain values of another.

    Attributes:
        depends_on: the other key.
        applies: of the other key's value: whether `key` has an effect.
        default: of `key` where it has; None where it is required then.
        reason: why `key` is refused where it has none.
    """

    key: str
    depends_on: str
    applies: Any  # Callable[[Any], bool]; a plain attribute of that type would be bound as a method
    default: Any
    reason: str


class ConditionalSection(RecipeSection):
    """A section some of whose keys have an effect only beside others."""

    key_rules: ClassVar[tuple[KeyRule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _apply_key_rules(cls, fields: Any) -> Any:
        """Fill in keys that are left out and apply; refuse keys that do not apply."""
        if not isinstance(fields, dict):
            return fields
        filled = dict(fields)
        for rule in cls.key_rules:
            if rule.depends_on not in filled and cls.model_fields[rule.depends_on].is_required():
                continue  # pydantic reports the missing key
            other_value = filled.get(rule.depends_on, cls.model_fields[rule.depends_on].default)
            if not rule.applies(other_value):
                if filled.get(rule.key) is not None:
                    raise ValueError(f"{rule.key} does nothing here: {rule.reason}; make it null")
            elif filled.get(rule.key) is None and rule.default is not None:
                filled[rule.key] = rule.default
        return filled


class HeadRecipe(ConditionalSection):
    """The layers on the embedding.

    Attributes:
        hidden: widths of dense layers before the last; none for a linear head.
        activation: after each of those layers.
        dropout: probability of dropping a feature, before each layer, in training; a list has one
            for each layer, the last one included, such as [0, 0.5] for one hidden layer.
        embedding: dimensions of a learnt embedding, which the bundle then embeds with; the logits
            are its cosines with a direction for every class.
        scale: of those cosines.
    """

    hidden: tuple[Count, ...] = ()
    activation: Literal["relu", "gelu", "silu"] | None = None
    dropout: Fraction | tuple[Fraction, ...] = 0.0
    embedding: Annotated[int, Field(ge=2, le=4096)] | None = None
    scale: Positive | None = None

    key_rules = (
        KeyRule("activation", "hidden", bool, "relu", "without hidden layers nothing is activated"),
        KeyRule("scale", "embedding", bool, 16.0, "without an embedding the head has no cosines"),
    )

    @model_validator(mode="after")
    def _check_embedding(self) -> "HeadRecipe":
        if self.embedding is not None and (self.hidden or self.drops_anything):
            raise ValueError("an embedding is learnt by one layer, without hidden ones or dropout")
        return self

    @model_validator(mode="after")
    def _check_dropout(self) -> "HeadRecipe":
        layers = len(self.hidden) + 1
        if isinstance(self.dropout, tuple) and len(self.dropout) != layers:
            raise ValueError(
                f"dropout has {pluralize(len(self.dropout), 'number')}, and the head "
                f"{pluralize(layers, 'layer')}: {len(self.hidden)} hidden and the last one"
            )
        return self

    @property
    def drops_anything(self) -> bool:
        return bool(any(self.dropout) if isinstance(self.dropout, tuple) else self.dropout)


AUGMENTED_VIEWS = KeyRule(
    "augmentation",
    "views",
    lambda views: views != 1,
    {},
    "views is 1, and the first view is the image itself",
)


def _require_different_views(views: int, augmentation: Augmentation | None) -> None:
    if augmentation is not None and not augmentation.changes_anything:
        raise ValueError(
            f"views: {views} does nothing: the augmentation changes nothing; say views: 1"
        )


class LinearStage(ConditionalSection):
    """A linear head on the pooled embedding, by multinomial logistic regression.

    Attributes:
        Cs: candidates for C, the inverse of the L2 penalty on standardised features.
        folds: of the shuffled, stratified, grouped cross-validation that chooses among them.
        views: images made of each training image, all of which it is fitted on; the first is the
            image itself.
        augmentation: the random changes that make the other views.
    """

    name: str = "head"
    method: Literal["logistic_regression"]
    Cs: PositiveValues
    folds: Folds | None = None
    views: Annotated[int, Field(ge=1, le=64)] = 1
    augmentation: Augmentation | None = None

    key_rules = (
        KeyRule(
            "folds",
            "Cs",
            lambda s: not isinstance(s, list | tuple) or len(s) != 1,
            5,
            "one C leaves no choice",
        ),
        AUGMENTED_VIEWS,
    )

    @model_validator(mode="after")
    def _check_views(self) -> "LinearStage":
        _require_different_views(self.views, self.augmentation)
        return self


class SvmStage(ConditionalSection):
    """A support vector machine with calibrated probabilities, on standardised embeddings.

    Attributes:
        kernel: `linear` or `rbf`.
        Cs: candidates for C, the inverse of the penalty.
        gamma: candidates for the width of the RBF kernel, as a multiple of 1 / dimensions.
        pca: candidates for the number of principal components; null keeps all dimensions.
        folds: of the cross-validation that chooses among them.
    """

    name: str = "head"
    method: Literal["svm"]
    kernel: Literal["linear", "rbf"]
    Cs: PositiveValues
    gamma: PositiveValues | None = None
    pca: Annotated[tuple[Annotated[int, Field(ge=2)] | None, ...], Field(min_length=1)] = (None,)
    folds: Folds

    key_rules = (
        KeyRule("gamma", "kernel", lambda k: k != "linear", (1.0,), "the kernel is linear"),
    )


class WhiteningStage(ConditionalSection):
    """The frozen embedding, normalised and whitened; nothing is learnt by gradients.

    Attributes:
        shrinkage: the share by which the variance of every coordinate is drawn to their mean.
    """

    name: str = "whitening"
    method: Literal["whitening"]
    shrinkage: Fraction = 0.1


class ForestStage(ConditionalSection):
    """A random forest on embeddings.

    Attributes:
        trees: their number.
        depths: candidates for the depth of a tree; null sets no bound.
        leaf_sizes: candidates for the fewest images of a leaf.
        folds: of the cross-validation that chooses among them.
    """

    name: str = "head"
    method: Literal["random_forest"]
    trees: Annotated[int, Field(ge=10, le=5000)]
    depths: Annotated[tuple[Count | None, ...], Field(min_length=1)] = (None,)
    leaf_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    folds: Folds


def _check_trainable(value: Any) -> Trainable:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (value == "all" or LAYERS_PATTERN.fullmatch(value)):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError(
        "expected a number of groups (3), of layers ('40 layers'), 'all', 0 for the head alone, or "
        f"names ([layer4, layer3]), got {value!r}"
    )


def _trains_backbone(trainable: Any) -> bool:
    return bool(trainable != 0)


def _more_than_one_group(trainable: Any) -> bool:
    return trainable not in (0, 1)


class GradientStage(ConditionalSection):
    """The top of the network and the head, by gradient descent.

    Attributes:
        trainable: what trains beside the head: groups of layers from the top (3), layers from the
            top (`40 layers`; modules with weights of their own), `all`, 0 for the head alone, or
            names of groups or modules.
        batch_norm: `train` updates the statistics of layers that train; `frozen` keeps them.
        views: images made of each training image; the first is the image itself.
        epochs: passes over all training images, each time in one of their views.
        batch_size: images in a batch.
        sampling: `all` takes every image once in an epoch; `balanced` draws as many with
            replacement, every class equally often; `identities` fills a batch with some images
            of each of a few classes, all classes in turn.
        images_per_identity: of each class in a batch of `identities`.
        accumulation: batches whose gradients make one step.
        optimiser: the update rule.
        momentum: of SGD.
        learning_rate: peak rate of the topmost group that trains.
        head_learning_rate: peak rate of the head.
        layer_decay: the rate of each group is this times that of the group above it.
        weight_decay: per step on weights, not on norms and biases: decoupled in AdamW.
        l2: this times the sum of squares of all weights that train, without norms and biases, is
            added to the loss.
        schedule: how the rate falls after its peak.
        warmup: fraction of all steps in which the rate rises to its peak, never from zero.
        step_epochs, step_factor: after each `step_epochs` epochs the rate is multiplied by
            `step_factor`.
        plateau_factor, plateau_patience: the rate is multiplied by `plateau_factor` after more
            than `plateau_patience` epochs without a lower validation loss.
        loss: `cross_entropy` of the logits; for `head.embedding`, `arcface` (Deng et al. 2019) or
            `triplet` with semi-hard negatives (Schroff et al. 2015).
        margin: of `arcface` an angle in radians, of `triplet` a squared distance.
        validation_identities: share of the classes that do not train: a search among their images
            chooses the epoch. 0 lets the validation part search, whose classes train.
        label_smoothing: share of the true class that is spread over all classes in the loss.
        clip_norm: largest norm of the gradient.
        patience: epochs without an improvement before training stops.
        stop_on: the metric that must improve.
        keep_best_by: the metric that decides which epoch ships.
        precision: of the forward pass; `fp16` needs a GPU.
        mixup, cutmix: see `MixRecipe`; a batch is mixed in one way or not at all. Beside `cutmix`,
            which cuts images, nothing is kept of the part that is frozen: every epoch computes it.
        augmentation: the random changes that make the other views.
    """

    name: str = "finetune"
    method: Literal["gradient_descent"]
    trainable: Annotated[Trainable, BeforeValidator(_check_trainable)]
    batch_norm: Literal["frozen", "train"] | None = None
    views: Annotated[int, Field(ge=1, le=1024)] = 1
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    sampling: Literal["all", "balanced", "identities"] = "all"
    images_per_identity: Annotated[int, Field(ge=2)] | None = None
    accumulation: Count = 1
    optimiser: Literal["adamw", "sgd", "adam"] = "adamw"
    momentum: Fraction | None = None
    learning_rate: Positive | None = None
    head_learning_rate: Positive
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    weight_decay: NotNegative | None = None
    l2: NotNegative = 0.0
    schedule: Literal["cosine", "step", "plateau", "constant"] = "cosine"
    warmup: Fraction = 0.0
    step_epochs: Count | None = None
    step_factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    plateau_patience: Annotated[int, Field(ge=0)] | None = None
    loss: Literal["cross_entropy", "arcface", "triplet"] = "cross_entropy"
    margin: Positive | None = None
    validation_identities: Fraction | None = None
    label_smoothing: Fraction = 0.0
    clip_norm: Positive | None = None
    patience: Count | None = None
    stop_on: Literal["val_loss", "val_accuracy"] | None = None
    keep_best_by: Literal["val_loss", "val_accuracy"] = "val_loss"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    mixup: MixRecipe | None = None
    cutmix: MixRecipe | None = None
    augmentation: Augmentation | None = None

    key_rules = (
        KeyRule("momentum", "optimiser", lambda o: o == "sgd", 0.9, "the optimiser is not sgd"),
        KeyRule("weight_decay", "optimiser", lambda o: o != "adam", 0.0,
             "with adam it is an L2 penalty, which `l2` says; adamw decays weights"),
        KeyRule("learning_rate", "trainable", _trains_backbone, None,
             "trainable is 0, and the head learns at head_learning_rate"),
        KeyRule("layer_decay", "trainable", _more_than_one_group, 1.0,
             "it sets rates of groups apart, and no more than one trains"),
        KeyRule("batch_norm", "trainable", _trains_backbone, "frozen",
             "trainable is 0, and the head has no batch norm"),
        KeyRule("step_epochs", "schedule", lambda s: s == "step", 10, "the schedule is not step"),
        KeyRule("step_factor", "schedule", lambda s: s == "step", 0.1, "the schedule is not step"),
        KeyRule("plateau_factor", "schedule", lambda s: s == "plateau", 0.5,
             "the schedule is not plateau"),
        KeyRule("plateau_patience", "schedule", lambda s: s == "plateau", 2,
             "the schedule is not plateau"),
        KeyRule("stop_on", "patience", lambda p: p is not None, "val_loss",
             "without patience it never stops early"),
        KeyRule("images_per_identity", "sampling", lambda s: s == "identities", 4,
             "sampling is not identities"),
        KeyRule("margin", "loss", lambda one: one != "cross_entropy", 0.2,
             "cross_entropy has no margin"),
        KeyRule("validation_identities", "loss", lambda one: one != "cross_entropy", 0.2,
             "cross_entropy knows the classes that train alone"),
        AUGMENTED_VIEWS,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_combination(self) -> "GradientStage":
        if self.trainable != 0 and self.learning_rate is None:
            raise ValueError("learning_rate is missing: it is the peak rate of what trains")
        _require_different_views(self.views, self.augmentation)
        self._check_loss()
        shares = [one.probability for one in (self.mixup, self.cutmix) if one is not None]
        if sum(shares) > 1:
            raise ValueError(
                "mixup and cutmix: a batch is mixed in one way, so their probabilities sum to at "
                f"most 1, got {sum(shares):g}"
            )
        return self

    @property
    def learns_embedding(self) -> bool:
        """Whether the loss compares embeddings, not logits."""
        return self.loss != "cross_entropy"

    def _check_loss(self) -> None:
        K = self.images_per_identity
        if K is not None and self.batch_size % K:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of images_per_identity {K}"
            )
        if self.loss == "triplet" and (self.sampling != "identities" or self.batch_size == K):
            raise ValueError(
                "triplet compares images of one class and of others within a batch; take "
                "sampling: identities, and a batch_size of several times images_per_identity"
            )
        if self.learns_embedding and (self.mixup or self.cutmix or self.label_smoothing):
            raise ValueError(f"{self.loss} takes no mixup, cutmix or label_smoothing")


Stage = Annotated[
    LinearStage | SvmStage | ForestStage | WhiteningStage | GradientStage,
    Field(discriminator="method"),
]
STAGES: dict[str, type[ConditionalSection]] = {
    "logistic_regression": LinearStage,
    "svm": SvmStage,
    "random_forest": ForestStage,
    "whitening": WhiteningStage,
    "gradient_descent": GradientStage,
}
