import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;

/** Kafka Streams: a windowed aggregate in its RocksDB, one thread. Arguments: subjects/events.py. */
public final class KafkaStreamsWindows {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final AtomicLong SEEN = new AtomicLong();
    private static volatile long began;

    public static void main(String[] arguments) throws Exception {
        long count = Long.parseLong(arguments[2]);
        Path folder = Files.createTempDirectory(Path.of(arguments[3]), "state-");
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "bench-kafka-streams");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder.toString());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put("auto.offset.reset", "earliest");

        Serde<long[]> sums = Serdes.serdeFrom(
            (topic, each) -> ByteBuffer.allocate(16).putLong(each[0]).putLong(each[1]).array(),
            (topic, bytes) -> new long[] {
                ByteBuffer.wrap(bytes).getLong(0), ByteBuffer.wrap(bytes).getLong(8)
            });
        StreamsBuilder builder = new StreamsBuilder();
        builder
            .stream(
                arguments[1],
                Consumed.with(Serdes.String(), Serdes.ByteArray()).withTimestampExtractor(new EventTime()))
            .mapValues(value -> parsed(value).get("duration_us").longValue())
            .groupByKey(org.apache.kafka.streams.kstream.Grouped.with(Serdes.String(), Serdes.Long()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(60)))
            .aggregate(
                () -> new long[2],
                (tenant, duration, total) -> {
                    note(count);
                    return new long[] {total[0] + duration, total[1] + 1};
                },
                Materialized.with(Serdes.String(), sums));
        new KafkaStreams(builder.build(), settings).start();
    }

    private static void note(long count) {
        long seen = SEEN.incrementAndGet();
        if (seen == 1) {
            began = System.nanoTime();
        }
        if (seen == count) {
            double seconds = (System.nanoTime() - began) / 1e9;
            System.out.println("{\"events_per_s\": " + count / seconds + "}");
            Runtime.getRuntime().halt(0);
        }
    }

    private static JsonNode parsed(byte[] value) {
        try {
            return JSON.readTree(value);
        } catch (java.io.IOException error) {
            throw new IllegalArgumentException(error);
        }
    }

    /** When it happened, not when Kafka got it. Parses the event a second time: Kafka Streams asks
     * for the time before the value is decoded. */
    public static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return parsed((byte[]) record.value()).get("ts_us").longValue() / 1_000;
        }
    }
}
