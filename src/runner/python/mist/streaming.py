# SPDX-License-Identifier: Apache-2.0
"""The streaming contexts of functions that have one for their first parameter.

A process has at most one that is started, so none may outlive its job: whatever way the job ends, its stream is
stopped, and Spark is not. It is stopped from a thread of its own, since the job's may wait in PySpark for the very
end of the stream, or was interrupted and must not talk to the JVM again."""

import logging
import threading

_log = logging.getLogger("mist.worker")
_streams = {}       # job id → StreamingContext. No lock: a job's thread can be interrupted while it holds one
_interval_s = 1.0
STOP_S = 10


def configure(interval_s):
    global _interval_s
    _interval_s = interval_s


def make(session, job_id):
    """A StreamingContext with the interval of the worker's context."""
    from pyspark.streaming import StreamingContext
    made = StreamingContext(session.sparkContext, _interval_s)
    if job_id:
        _streams[job_id] = made
    return made


def stop(job_id):
    """Stops the stream of the job, if it has one, and waits for it; so does who comes while another stops it."""
    stream = _streams.get(job_id)
    if stream is None:
        return
    stopping = threading.Thread(target=_stop, args=(stream,), name="mist-stop-stream", daemon=True)
    stopping.start()
    stopping.join(STOP_S)
    _streams.pop(job_id, None)


def _stop(stream):
    try:
        if stream._jssc.getState().toString() == "ACTIVE":
            stream.stop(stopSparkContext=False)
    except Exception as e:  # Spark was stopped with it, or the JVM is gone
        _log.warning("cannot stop a stream: %s", e)
