"""Anomalib: the tree of MVTec AD. All anomalies are for testing; normal pictures are divided between training and testing."""

from __future__ import annotations

from seas_runtime.dataset.exporters.job import Job

README = """Anomalib: the tree of MVTec AD, {product}/train/good, test/TYPE and ground_truth/TYPE; test/good has the
normal pictures held out (--val). Anomalib learns from normal pictures; the generated anomalies measure it.

    from anomalib.data import MVTecAD
    data = MVTecAD(root="PATH OF THIS FOLDER", category="{product}")

With normal pictures of your own:

    from anomalib.data import Folder
    data = Folder(name="{product}", root="PATH OF THIS FOLDER/{product}", normal_dir="PATH OF YOURS",
                  abnormal_dir={tests}, mask_dir={truths})
    # datamodule.setup(); or anomalib.engine.Engine().fit(model=anomalib.models.Patchcore(), datamodule=data)
"""


def write(job: Job) -> None:
    """Write the tree and the README."""
    product = job.data.facts.settings.product
    types = set()
    for split, records in job.splits.items():
        for record, item in job.items(records):
            job.write_image(f"{product}/{split}/{record.defect or 'good'}/{record.key}.png", item)
            if record.defect is not None:
                types.add(record.defect)
                job.write_mask(f"{product}/ground_truth/{record.defect}/{record.key}_mask.png", item)
    readme = README.format(
        product=product,
        tests=[f"test/{name}" for name in sorted(types)],
        truths=[f"ground_truth/{name}" for name in sorted(types)],
    )
    job.write("README.txt", job.heading() + readme)
