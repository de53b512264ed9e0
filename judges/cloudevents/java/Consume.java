import io.cloudevents.CloudEvent;
import io.cloudevents.core.CloudEventUtils;
import io.cloudevents.core.provider.EventFormatProvider;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.jackson.PojoCloudEventDataMapper;
import io.cloudevents.kafka.CloudEventDeserializer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints each event of firstcome once, as a line of JSON: java -cp 'lib/*' Consume.java 127.0.0.1:9092 firstcome */
public class Consume {
    public static void main(String[] arguments) {
        String prefix = arguments[1];
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", arguments[0],
            "group.id", prefix + ".example-java",
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false,
            "key.deserializer", StringDeserializer.class,
            "value.deserializer", CloudEventDeserializer.class);
        var json = PojoCloudEventDataMapper.from(new ObjectMapper(), JsonNode.class);
        var format = EventFormatProvider.getInstance().resolveFormat(JsonFormat.CONTENT_TYPE);
        // Yours is a table of your database, written in the transaction in which the event has its effect.
        var seen = new HashSet<String>();
        try (var consumer = new KafkaConsumer<String, CloudEvent>(settings)) {
            consumer.subscribe(List.of(prefix + ".participation.v1", prefix + ".campaign.v1", prefix + ".order.v1"));
            while (true) {
                var records = consumer.poll(Duration.ofSeconds(1));
                for (var record : records) {
                    CloudEvent event = record.value();
                    if (!seen.add(event.getId())) {
                        System.out.println("again " + event.getId());
                        continue;
                    }
                    // The decoded JSON; event.getType() says what happened.
                    JsonNode data = CloudEventUtils.mapData(event, json).getValue();
                    if (!data.has("occurredAt")) throw new IllegalStateException("no event of firstcome: " + event);
                    System.out.println(new String(format.serialize(event), StandardCharsets.UTF_8));
                }
                if (!records.isEmpty()) consumer.commitSync();
            }
        }
    }
}
