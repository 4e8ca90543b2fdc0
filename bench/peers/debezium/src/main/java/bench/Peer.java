package bench;

import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Reads a binlog with Debezium's embedded engine into a consumer that counts the rows, and prints how many there were. The engine gets no
 * snapshot: it reads the CREATE statements in the first binlog file and goes on. Records are Connect structs, not serialized.
 *
 * <p>usage: Peer PORT ROWS FOLDER. It ends after ROWS rows; a row too few never ends, so the caller sets a limit.
 */
public final class Peer {
  private static long rows;

  public static void main(String[] arguments) throws Exception {
    long wanted = Long.parseLong(arguments[1]);
    Path folder = Files.createTempDirectory(Files.createDirectories(Path.of(arguments[2])), "debezium");
    Properties settings = new Properties();
    settings.setProperty("name", "bench");
    settings.setProperty("connector.class", "io.debezium.connector.mysql.MySqlConnector");
    settings.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
    settings.setProperty("offset.storage.file.filename", folder.resolve("offsets").toString());
    settings.setProperty("schema.history.internal", "io.debezium.storage.file.history.FileSchemaHistory");
    settings.setProperty("schema.history.internal.file.filename", folder.resolve("history").toString());
    settings.setProperty("database.hostname", "127.0.0.1");
    settings.setProperty("database.port", arguments[0]);
    settings.setProperty("database.user", "root");
    settings.setProperty("database.password", "");
    settings.setProperty("database.ssl.mode", "disabled");
    settings.setProperty("database.server.id", "7003");
    settings.setProperty("driver.allowPublicKeyRetrieval", "true");
    settings.setProperty("topic.prefix", "bench");
    settings.setProperty("snapshot.mode", "never");
    settings.setProperty("include.schema.changes", "false");
    settings.setProperty("tombstones.on.delete", "false");

    CountDownLatch done = new CountDownLatch(1);
    DebeziumEngine<RecordChangeEvent<SourceRecord>> engine =
        DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
            .using(settings)
            .using(
                (success, message, error) -> {
                  if (!success) {
                    System.err.println(message);
                    System.exit(1);
                  }
                })
            .notifying(
                (List<RecordChangeEvent<SourceRecord>> records,
                    DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer) -> {
                  for (RecordChangeEvent<SourceRecord> change : records) {
                    if (change.record().value() instanceof Struct value
                        && value.schema().field("op") != null) {
                      rows++;
                    }
                    committer.markProcessed(change);
                  }
                  committer.markBatchFinished();
                  if (rows >= wanted) {
                    done.countDown();
                  }
                })
            .build();
    ExecutorService executor = Executors.newSingleThreadExecutor();
    executor.execute(engine);
    done.await();
    System.out.println(rows);
    System.out.flush();
    Runtime.getRuntime().halt(0); // an orderly stop of the engine is no part of reading
  }

  private Peer() {}
}
