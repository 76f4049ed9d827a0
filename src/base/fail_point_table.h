/* SPDX-License-Identifier: Apache-2.0 */
/* Every fail point: FAIL_POINT(identifier, name, a typical errno or 0, what happens there).
 *
 * The name is what MIST_FAIL_POINTS and `mistd --list-fail-points` call it: the layer, the thing,
 * the step. With 0 it stands where nothing can fail any more: it can be delayed, and the program
 * can end there. Read by fail_point.h only. */

FAIL_POINT(STORE_BEGIN, "store.begin", EIO, "a transaction begins")
FAIL_POINT(STORE_JOB, "store.job", ENOSPC, "a job, or its change, is written in a transaction")
FAIL_POINT(STORE_DEFINITION, "store.definition", ENOSPC,
	"a definition is written or removed in a transaction")
FAIL_POINT(STORE_OUTBOX_ADD, "store.outbox.add", ENOSPC,
	"one more reply target of a job is written in a transaction")
FAIL_POINT(STORE_OUTBOX_DELIVERED, "store.outbox.delivered", EIO,
	"what was delivered leaves the outbox in a transaction")
FAIL_POINT(STORE_PRUNE, "store.prune", EIO, "old jobs are removed in a transaction")
FAIL_POINT(STORE_UNREADABLE, "store.unreadable", ENOSPC,
	"a row that cannot be read is set aside, or forgotten, in a transaction")
FAIL_POINT(STORE_COMMIT, "store.commit", EIO, "a transaction is about to be committed")
FAIL_POINT(STORE_COMMITTED, "store.committed", 0, "a transaction is durable, and nobody knows it")
FAIL_POINT(STORE_DEPLOYMENT_KEEP, "store.deployment.keep", ENOSPC,
	"the way back of an artifact that a deployment replaces is made")
FAIL_POINT(STORE_DEPLOYMENT_JOURNAL, "store.deployment.journal", ENOSPC,
	"the journal of a deployment is written")
FAIL_POINT(STORE_DEPLOYMENT_UNDO, "store.deployment.undo", EIO,
	"an artifact of a deployment that was not finished is put back")
FAIL_POINT(STORE_DEPLOYMENT_SETTLE, "store.deployment.settle", 0,
	"a deployment is durable or undone, and its journal is about to go")
FAIL_POINT(STORE_LOG, "store.log", ENOSPC, "lines are appended to the log of a job")

FAIL_POINT(ARTIFACT_REMOVE, "core.artifact.remove", EIO, "an artifact is removed")
FAIL_POINT(CONFIG_READ, "mistd.config.read", EIO, "the configuration is read again (SIGHUP)")
FAIL_POINT(CONFIG_REFERENCES, "mistd.config.references", 0,
	"what the configuration that was read again refers to is looked at")
FAIL_POINT(ARTIFACT_LOOK, "core.artifact.look", EACCES,
	"the artifact of a function is looked at, to know whether it is another by now")

FAIL_POINT(LAUNCHER_COMMAND, "launcher.command", EIO,
	"the command of a worker is made of what its runner and Spark have in their files")
FAIL_POINT(LAUNCHER_DIRECTORY, "launcher.directory", ENOSPC, "the directory of a worker is made")
FAIL_POINT(LAUNCHER_RECORD, "launcher.record", ENOSPC, "a file of a worker is written")
FAIL_POINT(LAUNCHER_RENAME, "launcher.rename", EIO, "a written file of a worker gets its name")
FAIL_POINT(LAUNCHER_SPAWN, "launcher.spawn", EAGAIN, "the process of a worker is started")
FAIL_POINT(LAUNCHER_SPAWNED, "launcher.spawned", 0,
	"the process of a worker runs, and its record does not name it yet")
FAIL_POINT(LAUNCHER_OUTPUT, "launcher.output", 0, "what a worker that is gone printed last is read")
FAIL_POINT(LAUNCHER_REMOVE, "launcher.remove", 0, "the files of a worker that is gone are removed")

FAIL_POINT(ARTIFACT_WRITE, "transport.http.artifact.write", ENOSPC,
	"a piece of an artifact is written")
FAIL_POINT(ARTIFACT_SYNC, "transport.http.artifact.sync", EIO, "a whole artifact goes to the disk")
FAIL_POINT(ARTIFACT_RENAME, "transport.http.artifact.rename", EIO, "an artifact gets its name")
FAIL_POINT(ARTIFACT_FOLDER, "transport.http.artifact.folder", EIO,
	"an artifact has its name, which goes to the disk")
FAIL_POINT(HTTP_ACCEPT, "transport.http.accept", 0, "a client has connected")
FAIL_POINT(HTTP_BODY, "transport.http.body", ENOMEM, "a piece of the body of a request has come")
FAIL_POINT(HTTP_ANSWER, "transport.http.answer", 0, "a request is about to be answered")
FAIL_POINT(HTTP_LIST, "transport.http.list", EIO,
	"the next piece of a long list of jobs is read, after the first was sent")

FAIL_POINT(MQTT_CONNECT, "transport.mqtt.connect", ECONNREFUSED, "a connection is about to be made")
FAIL_POINT(MQTT_SUBSCRIBE, "transport.mqtt.subscribe", EACCES, "a topic is subscribed to")
FAIL_POINT(MQTT_ARRIVED, "transport.mqtt.arrived", 0, "a message has come")
FAIL_POINT(MQTT_TAKEN, "transport.mqtt.taken", 0, "a message is about to be acknowledged")
FAIL_POINT(MQTT_PUBLISH, "transport.mqtt.publish", EAGAIN, "an event is about to be published")
FAIL_POINT(MQTT_PUBLISHED, "transport.mqtt.published", 0, "the broker has an event")

FAIL_POINT(KAFKA_CONNECT, "transport.kafka.connect", EAGAIN, "a client of the cluster is made")
FAIL_POINT(KAFKA_TAKE, "transport.kafka.take", 0, "a message has come")
FAIL_POINT(KAFKA_COMMIT, "transport.kafka.commit", EIO, "offsets are about to be committed")
FAIL_POINT(KAFKA_CONSUMER, "transport.kafka.consumer", EIO,
	"a consumer is asked whether it has failed for good")
FAIL_POINT(KAFKA_CONSUMER_RENEW, "transport.kafka.consumer.renew", 0, "a consumer is made anew")
FAIL_POINT(KAFKA_PRODUCER, "transport.kafka.producer", EIO,
	"a producer is asked whether it has failed for good")
FAIL_POINT(
	KAFKA_PRODUCER_RENEW, "transport.kafka.producer.renew", EAGAIN, "a producer is made anew")
FAIL_POINT(KAFKA_PRODUCE, "transport.kafka.produce", EAGAIN, "a record is about to be sent")
FAIL_POINT(KAFKA_PRODUCED, "transport.kafka.produced", 0, "the broker has a record")
