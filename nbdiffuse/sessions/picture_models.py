"""What a session's models make of a picture without a run: a depth map, the mask of a part, or a caption."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..images.edges import canny
from ..images.lines import lineart, scribble
from ..images.mask_selection import checked, modelled, select
from ..images.picture import Picture
from ..recipes.controlnets import DEPTH_ESTIMATORS, PREPROCESSORS
from ..recipes.segmenters import with_checkpoint
from ..recipes.weights_source import source

if TYPE_CHECKING:
    from ..pipelines.pipelines import Pipelines

T = TypeVar("T")
_FILTERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "canny": canny,
    "lineart": lineart,
    "scribble": scribble,
    # A ControlNet for tiles follows the picture itself.
    "tile": lambda image: image,
}


class PictureModels(ABC):
    """The part of a session that looks at pictures."""

    @abstractmethod
    def with_pipelines(self, work: Callable[[Pipelines], T]) -> T:
        """Call `work` with the resident pipelines, on the worker."""

    def depth_map(self, image: Any) -> Picture:
        """Estimate a picture's depth, for a ControlNet to follow.

        Parameters
        ----------
        image
            Whatever `Picture.of` takes.

        Returns
        -------
        The depth map, of the picture's size; near is bright.

        Raises
        ------
        ImageInputError, CheckpointError
            The picture cannot be read, or the estimator not be loaded.
        """
        picture = Picture.of(image)
        word = DEPTH_ESTIMATORS[source()]

        def work(pipelines: Pipelines) -> Picture:
            from ..pipelines.depth import estimate

            estimated = estimate(pipelines.model(word), pipelines.directory(word), picture.image)
            return Picture.of(estimated, label=PREPROCESSORS["depth"])

        return self.with_pipelines(work)

    def control_picture(self, image: Any, preprocessor: str) -> Picture:
        """Make what a ControlNet follows from any picture, as `control_image="auto"` does.

        Parameters
        ----------
        image
            Whatever `Picture.of` takes.
        preprocessor
            A key of `recipes.controlnets.PREPROCESSORS`: "depth", "canny", "lineart", "scribble" or "tile".

        Returns
        -------
        The control picture, of the picture's size.

        Raises
        ------
        ImageInputError, CheckpointError, NbdiffuseError
            The picture cannot be read, the model not be loaded, or a library is missing.
        ParameterError
            There is no such preprocessor.
        """
        if preprocessor not in PREPROCESSORS:
            way_out = did_you_mean(preprocessor, PREPROCESSORS)
            raise ParameterError(breaks_rule("preprocessor", f"one of {', '.join(PREPROCESSORS)}", preprocessor, way_out))
        if preprocessor == "depth":
            return self.depth_map(image)
        picture = Picture.of(image)
        return Picture.of(_FILTERS[preprocessor](picture.image), label=PREPROCESSORS[preprocessor])

    def select_mask(self, image: Any, selection: str) -> Picture:
        """Select a part of a picture as `mask_image` does, to look at it or to combine it, see `mask_arithmetic`.

        Parameters
        ----------
        image
            Whatever `Picture.of` takes.
        selection
            "text:sky", "auto:subject", "auto:alpha" or "color:#87ceeb~40", see `recipes.parts.Mask`.

        Returns
        -------
        The mask, of the picture's size: white where it is selected. Its label says by which model.

        Raises
        ------
        ImageInputError, ParameterError, CheckpointError
            The picture cannot be read, nothing is selected, or the model not be loaded.
        """
        picture, text = Picture.of(image), checked("selection", selection)
        if modelled(text) is None:
            return select(picture, text)
        wanted = with_checkpoint(text)

        def work(pipelines: Pipelines) -> Picture:
            from ..pipelines.segmentation import find

            return find(pipelines, picture, wanted)

        return self.with_pipelines(work)

    def caption(self, image: Any, checkpoint: str) -> str:
        """Say in words what a picture shows.

        Parameters
        ----------
        image
            Whatever `Picture.of` takes.
        checkpoint
            A model of transformers that captions, such as "Salesforce/blip-image-captioning-base": a hub id, or a
            directory with its processor's files.

        Returns
        -------
        The caption; the same one every time.

        Raises
        ------
        ImageInputError, CheckpointError
            The picture cannot be read, or the model not be loaded, or it writes no text.
        """
        picture = Picture.of(image)

        def work(pipelines: Pipelines) -> str:
            from ..pipelines.captions import caption

            return caption(pipelines.model(checkpoint), pipelines.directory(checkpoint), picture.image)

        return self.with_pipelines(work)

    def identities(self, pairs: Sequence[tuple[Image.Image, Image.Image]], checkpoint: str) -> list[float]:
        """Say how far pictures show the same as others, by the CLIP that knows what a checkpoint draws; see `scorers.identities`.

        Raises
        ------
        CheckpointError
            The CLIP cannot be loaded.
        """

        def work(pipelines: Pipelines) -> list[float]:
            from ..pipelines import scorers

            return scorers.identities(scorers.scorer_for(checkpoint), pairs, pipelines.device)

        return self.with_pipelines(work)
