"""What every network and every pipeline must pass."""

import copy
import dataclasses
import importlib
import io
import json
import pickle
import re
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import found, run
from nets import inputs, outputs, small
from PIL import Image

import facesym
from facesym import DeviceError, FaceNotFoundError, ImageError, ZooError, models
from facesym.models.base import Model


class ModelTests:
    """What every network must pass. A test class adds a fixture ``name``, that of the network's class."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, name, saved):
        return saved(name)

    @pytest.fixture
    def net(self, name):
        return small(name)

    def test_the_config_comes_back(self, name, net, folder):
        for loaded in (getattr(models, name).from_pretrained(folder), Model.from_pretrained(folder)):
            assert type(loaded) is type(net) and not loaded.training
            assert json.loads(loaded.to_json_string()) == json.loads(net.to_json_string())

    @torch.no_grad()
    def test_weights_and_statistics_come_back_to_the_last_bit(self, name, net, tmp_path):
        given = inputs(net)
        net.train()(**given)  # moves BatchNorm's statistics and the vectors of spectral norms
        net.eval().save_pretrained(tmp_path)
        assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
        again = type(net).from_pretrained(tmp_path)
        state = again.state_dict()
        assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
        for one, other in zip(outputs(net(**given)), outputs(again(**given)), strict=True):
            assert torch.equal(one, other)

    @torch.no_grad()
    def test_the_same_input_gives_the_same_whatever_is_beside_it(self, net):
        given = inputs(net, batch=3)
        together = outputs(net(**given))
        assert all(torch.equal(a, b) for a, b in zip(together, outputs(net(**given)), strict=True))
        alone = outputs(net(**{key: value[1:2] for key, value in given.items()}))
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[1], rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_other_types_give_nearly_the_same(self, net, folder):
        given = inputs(net)
        expected = outputs(net(**given))
        for dtype, tolerance in ((torch.float64, 1e-4), (torch.bfloat16, 0.2)):
            other = type(net).from_pretrained(folder, dtype=dtype)
            assert other.dtype == dtype
            found = outputs(other(**{key: value.to(dtype) for key, value in given.items()}))
            for one, exact in zip(found, expected, strict=True):
                assert (one.double() - exact).abs().mean() <= tolerance * exact.abs().mean().clamp(min=0.1)

    def test_half_precision_is_stored_for_floats_only(self, net, tmp_path):
        before = {key: value.dtype for key, value in net.state_dict().items()}
        net.to(memory_format=torch.channels_last).save_pretrained(tmp_path, dtype=torch.float16)
        for key, tensor in safetensors.torch.load_file(tmp_path / "model.safetensors").items():
            assert tensor.dtype == (torch.float16 if before[key].is_floating_point else before[key])
        assert net.dtype == torch.float32
        assert type(net).from_pretrained(tmp_path).dtype == torch.float32
        assert type(net).from_pretrained(tmp_path, torch_dtype=torch.float16).dtype == torch.float16

    def test_files_that_do_not_fit_are_refused(self, net, folder, tmp_path):
        config = json.loads((folder / "config.json").read_text())
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        key = next(key for key, value in tensors.items() if value.ndim)

        def refused(message, config=config, tensors=tensors):
            (tmp_path / "config.json").write_text(json.dumps(config))
            safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
            with pytest.raises(ZooError, match=message):
                type(net).from_pretrained(tmp_path)

        refused("missing: " + re.escape(key), tensors={k: v for k, v in tensors.items() if k != key})
        refused("unexpected: extra", tensors=tensors | {"extra": torch.zeros(1)})
        refused(re.escape(key) + " has shape", tensors=tensors | {key: torch.zeros(7, 7, 7)})
        refused("does not have: colour", config=config | {"colour": "red"})
        refused("is for a Other, not for a", config=config | {"_class_name": "Other"})


def is_marked(file, task):
    """Whether a file says that facesym's model of a task has edited it."""
    return f"task: {task}".encode() in file.read_bytes()


class PipelineTests:
    """What every pipeline must pass. A task's test class names the ``network``'s class and what to ask for."""

    network: ClassVar[str]
    options: ClassVar = {}  # of a quick call
    batches = True  # the network sees several faces at once
    masks = False  # for complete: of all images a band
    arguments: ClassVar = ()  # of a quick command
    files: ClassVar = ()  # that the command writes, beside photo-<task>.png
    choices: ClassVar = ()  # of the tab's controls on the page

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, saved):
        return saved(cls.network)

    @pytest.fixture(scope="class")
    @classmethod
    def pipe(cls, model):
        return facesym.load(str(model))

    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, pipe, crop):
        """That of the crop."""
        return cls().call(pipe, crop)

    def call(self, pipe, image, **more):
        """The pipeline on an image, an aligned crop unless told otherwise, without warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return pipe(*self.inputs(image), **({"aligned": True} | self.options | more))

    def inputs(self, image):
        if not self.masks:
            return [image]
        if isinstance(image, list):
            return [image, [self.inputs(each)[1] for each in image]]
        width, height = image.size if isinstance(image, Image.Image) else (128, 128)
        mask = np.zeros((height, width), bool)
        mask[height // 5 : height // 3] = True
        return [image, mask]

    def test_kinds_of_input_give_the_same(self, pipe, result, crop, tmp_path):
        crop.save(tmp_path / "crop.png")
        pixels = np.asarray(crop)
        for image in (
            tmp_path / "crop.png",
            str(tmp_path / "crop.png"),
            (tmp_path / "crop.png").read_bytes(),
            io.BytesIO((tmp_path / "crop.png").read_bytes()),
            pixels,
            pixels.astype(np.float32) / 255,
            torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255,
        ):
            assert self.call(pipe, image).images[0].tobytes() == result.images[0].tobytes(), type(image)

    def test_fields_of_a_face_are_lists(self, pipe, result, pair):
        two = self.call(pipe, pair, aligned=False, faces="all", paste=False)
        assert result.faces == [] and len(two.faces) == len(two.images) == 2
        for given, count in ((result, 1), (two, 2)):
            own = {each.name for each in dataclasses.fields(given)}
            own -= {"images", "faces", "notes", "seconds", "task", "mask_fraction", "mask"}
            assert len(own) >= 3
            for name in own:
                values = getattr(given, name)
                assert isinstance(values, list) and len(values) == count, name
        assert two.faces[0].box[0] < two.faces[1].box[0]

    def test_fields_that_are_computed_when_read(self, pipe, crop, tmp_path, monkeypatch):
        result = self.call(pipe, crop)
        assert "identity" not in vars(result)
        result.save(tmp_path / "result.png")
        assert "identity=" not in repr(result)
        assert "identity" not in vars(result)  # nobody asked for it
        again = pickle.loads(pickle.dumps(result))
        assert result.identity is result.identity is copy.copy(result).identity
        assert f"identity={result.identity}" in repr(result)
        with monkeypatch.context() as patch:  # all at once
            for module in ("base", type(pipe).task):
                patch.setattr(f"facesym.pipelines.{module}.Later", lambda compute: compute(), raising=False)
            eager = self.call(pipe, crop)
        assert "identity" in vars(eager)
        for each in dataclasses.fields(result):
            expected = pickle.dumps(getattr(eager, each.name))
            for one in (result, again, copy.deepcopy(result), dataclasses.replace(result)):
                if self.batches and each.name != "seconds":
                    assert pickle.dumps(getattr(one, each.name)) == expected, each.name

    def test_a_face_is_chosen_also_by_a_number_of_numpy(self, pipe, pair):
        (face,) = self.call(pipe, pair, aligned=False, faces=np.int64(1)).faces
        assert face.box[0] > 300
        for wrong in ("every", 1.5, None, True):
            with pytest.raises(ImageError, match="faces must be"):
                self.call(pipe, pair, aligned=False, faces=wrong)
        with pytest.raises(FaceNotFoundError, match="no face number 5"):
            self.call(pipe, pair, aligned=False, faces=5)

    def test_pasting_changes_the_faces_and_leaves_the_rest_alone(self, pipe, pair):
        after = self.call(pipe, pair, aligned=False, paste=True, faces="all")
        (image,) = after.images
        changed = (np.asarray(pair) != np.asarray(image)).any(-1)
        assert len(after.faces) == 2
        for face in after.faces:
            x0, y0, x1, y1 = np.array(face.box).round().astype(int)
            assert changed[y0:y1, x0:x1].any()
            width, height = x1 - x0, y1 - y0
            changed[max(y0 - height // 2, 0) : y1 + height // 2, max(x0 - width, 0) : x1 + width] = False
        if self.masks:  # what is masked changes everywhere
            changed &= ~self.inputs(pair)[1]
        assert not changed.any()

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_faces_left_out_and_faces_too_small_are_noted(self, pipe, pair):
        small = Image.fromarray(np.asarray(pair.resize((203, 128))))
        notes = " ".join(self.call(pipe, small, aligned=False).notes)
        assert "The face is only about 2" in notes and "pixels wide" in notes
        assert ('1 other face was found and not changed: use faces="all"' in notes) != self.masks
        notes = " ".join(self.call(pipe, pair, aligned=False, faces="all").notes)
        assert "other face" not in notes and "pixels wide" not in notes

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_a_tilted_photo_gives_what_the_upright_one_does(self, pipe, astronaut):
        upright = [Image.fromarray(np.asarray(each)) for each in self.inputs(astronaut)]
        tilted = [each.rotate(25, Image.Resampling.BICUBIC, expand=True) for each in upright]
        one, other = (pipe(*each, paste=False, **self.options).images[0] for each in (upright, tilted))
        assert np.abs(np.subtract(*np.float32([one, other]))).mean() < 6

    def test_pictures_without_a_face_and_crops_that_are_none_are_refused(self, pipe, crop):
        with pytest.raises(FaceNotFoundError, match="No face was found"):
            self.call(pipe, Image.new("RGB", (300, 300), "grey"), aligned=False)
        with pytest.raises(ImageError, match="square"):
            self.call(pipe, crop.resize((128, 100)))
        with pytest.raises(ImageError, match="no file"):
            self.call(pipe, "no-such-photo.jpg")

    @pytest.mark.parametrize("paste", [True, False])
    def test_grey_stays_grey_and_alpha_stays(self, pipe, crop, paste):
        grey = np.asarray(self.call(pipe, crop.convert("L"), paste=paste).images[0])
        assert (grey == grey[..., :1]).all()
        image = crop.copy()
        image.putalpha(Image.linear_gradient("L").resize(crop.size))
        output = self.call(pipe, image, paste=paste).images[0]
        assert output.mode == ("RGBA" if paste else "RGB")
        if paste:
            assert output.getchannel("A").tobytes() == image.getchannel("A").tobytes()

    def test_results_are_marked_as_edited_and_say_what_they_are(self, pipe, result, tmp_path):
        assert result.save(tmp_path / "by_result.png") == [tmp_path / "by_result.png"]
        result.images[0].save(tmp_path / "by_image.png")
        for file in tmp_path.iterdir():
            assert is_marked(file, pipe.task), file
        assert f"{result.images[0].width}x{result.images[0].height}" in repr(result)
        assert repr(result).startswith(type(result).__name__) and len(repr(result)) < 400
        assert type(pipe.net).__name__ in repr(pipe) and "float32 on cpu" in repr(pipe)

    def test_the_command(self, model, pipe, astronaut, tmp_path, capsys):
        photo, *masks = (Image.fromarray(np.asarray(each)) for each in self.inputs(astronaut))
        photo.save(tmp_path / "photo.png")
        command = [pipe.task, tmp_path / "photo.png", "--model", model, "--json", *self.arguments]
        for mask in masks:
            mask.save(tmp_path / "mask.png")
            command += ["--mask", tmp_path / "mask.png"]
        assert run(*command) == 0
        told, output = json.loads(capsys.readouterr().out), tmp_path / f"photo-{pipe.task}.png"
        assert told["output"] == str(output) and len(told["faces"]) == 1 and is_marked(output, pipe.task)
        written = set(found(tmp_path)) - {"photo.png", "mask.png"}
        assert written == {output.name, *(f"photo-{pipe.task}-{name}" for name in self.files)}

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_the_page(self, pipe, astronaut, tmp_path, monkeypatch):
        import stage  # of spaces/, as is the module of the task's tab

        tab = importlib.import_module(pipe.task)
        monkeypatch.setattr(tab.tab.pipeline, "_pipeline", pipe)
        monkeypatch.setattr("parts.CACHE", str(tmp_path))

        def work(photo):
            """The tab's outcome, of a photo that a visitor has added."""
            photo.save(tmp_path / "photo.png")
            choices = self.choices
            for mask in self.inputs(photo)[1:]:
                Image.fromarray(mask).save(tmp_path / "mask.png")
                choices = [tmp_path / "mask.png", *choices]
            shot = stage.look_at(None, str(tmp_path / "photo.png"))
            return tab.work(lambda *_: None, {}, shot, *choices)

        outcome = work(astronaut.crop((96, 0, 352, 256)))
        shown = [path for view in outcome.views for path in (view.before, view.after, *view.frames) if path]
        written = [outcome.result, *(path for _, path in outcome.downloads)]
        assert shown and outcome.numbers and all(Path(file).is_file() for file in shown + written)
        assert all(is_marked(Path(file), pipe.task) for file in written if not file.endswith(".zip"))
        with pytest.raises(FaceNotFoundError):
            work(Image.new("RGB", (256, 256), "grey"))

    def test_a_list_gives_its_results_in_order(self, pipe, result, crop, astronaut):
        images = [crop, astronaut.crop((0, 0, 128, 128)), crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
        single = [result, *(self.call(pipe, image) for image in images[1:])]
        assert self.call(pipe, []) == []
        for size in (1, 2) if self.batches else (2,):
            batch = self.call(pipe, images, batch_size=size)
            assert len(batch) == 3
            for one, other in zip(single, batch):
                apart = np.asarray(one.images[0], int) - np.asarray(other.images[0], int)
                assert np.abs(apart).max() <= (0 if size == 1 else 2)
        for wrong in ({"batch_size": 0}, {"batch_size": "2"}, {"on_error": "ignore"}):
            with pytest.raises(ImageError, match=r"batch_size|on_error"):
                self.call(pipe, images, **wrong)

    def test_the_network_sees_a_batch(self, pipe, crop):
        if not self.batches:
            pytest.skip("fits run one by one")
        sizes, layer = [], next(x for x in pipe.net.modules() if isinstance(x, torch.nn.Conv2d))
        handle = layer.register_forward_pre_hook(lambda layer, given: sizes.append(len(given[0])))
        self.call(pipe, [crop] * 3, batch_size=2)
        handle.remove()
        assert max(sizes) == 2 and min(sizes) == 1

    def test_a_bad_photo_is_named_or_skipped(self, pipe, crop, tmp_path):
        (tmp_path / "broken.jpg").write_bytes(b"nothing")
        photos = [crop, tmp_path / "broken.jpg", crop]
        with pytest.raises(ImageError, match=r"Photo 1 \(.*broken.jpg\)"):
            self.call(pipe, photos, batch_size=2)
        with pytest.warns(UserWarning, match=r"Photo 1 \(.*broken.jpg\): skipped"):
            results = pipe(*self.inputs(photos), aligned=True, on_error="skip", batch_size=2, **self.options)
        assert [result is None for result in results] == [False, True, False]

    def test_a_photo_on_which_the_network_fails_is_skipped(self, pipe, result, crop, monkeypatch):
        real, tried = pipe._run, []

        def run(faces, options):
            tried.append(len(faces))
            if any(face.crop.getpixel((0, 0)) == (0, 0, 0) for face in faces):
                raise MemoryError("too much")
            for face in faces:
                face.notes.append("seen")
            return real(faces, options)

        monkeypatch.setattr(pipe, "_run", run)
        photos = [crop, Image.new("RGB", crop.size), crop]
        monkeypatch.setattr("facesym.pipelines.base.find_points", lambda crop: np.ones((68, 2)))
        with pytest.warns(UserWarning, match=r"Photo 1: skipped. MemoryError"):
            results = pipe(*self.inputs(photos), aligned=True, on_error="skip", batch_size=3, **self.options)
        assert results[1] is None and tried == [3, 1, 1, 1]
        assert results[0].notes.count("seen") == results[2].notes.count("seen") == 1
        with pytest.raises(MemoryError):
            self.call(pipe, photos, batch_size=3)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_other_types(self, model, result, crop, dtype):
        other = self.call(facesym.load(str(model), dtype=dtype), crop)
        apart = np.asarray(other.images[0], int) - np.asarray(result.images[0])
        assert np.abs(apart).mean() < (0.1 if dtype == torch.float64 else 4)

    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
    def test_gradients_off(self, model, pipe, result, crop, context):
        expected = result.images[0].tobytes()
        with context():
            assert self.call(pipe, crop).images[0].tobytes() == expected
            loaded = facesym.load(str(model))
        assert self.call(loaded, crop).images[0].tobytes() == expected

    def test_turned_heads_are_noted_and_profiles_refused(self, pipe, crop, pair, monkeypatch):
        yaws = []
        monkeypatch.setattr("facesym.faces.pose._both_ways", lambda pose: (yaws.pop(0), 0.0))
        yaws += [-pipe.trained_yaw - 5]
        (note,) = [note for note in self.call(pipe, crop).notes if "turned by about" in note]
        assert f"{pipe.trained_yaw + 5:.0f} degrees" in note
        if pipe.farthest_yaw == 90:
            return
        yaws += [85.0]
        with pytest.raises(ImageError, match=r"85 degrees.*both eyes"):
            self.call(pipe, crop)
        yaws += [85.0, 0.0]
        result = self.call(pipe, pair, aligned=False, faces="all")
        assert len(result.faces) == 1 and any("1 face is seen from the side" in note for note in result.notes)

    def test_moves(self, model, crop):
        pipe = facesym.load(str(model))
        assert pipe.to("cpu", torch.float64) is pipe and pipe.to(torch.float32) is pipe
        assert pipe.to(torch.device("cpu")).net.dtype == torch.float32
        self.call(pipe, crop)
        with pytest.raises(DeviceError, match="gpu"):
            pipe.to("gpu")
        with pytest.raises(DeviceError, match="gpu"):
            facesym.load(str(model), device="gpu")
