// Prints each event of firstcome once, as a line of JSON: node consume.js 127.0.0.1:9092 firstcome
const { Kafka: Binding } = require("cloudevents");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
const { compressFrame, decompressFrame } = require("lz4-napi");

// firstcome compresses with LZ4, which kafkajs leaves to another package.
CompressionCodecs[CompressionTypes.LZ4] = () => ({ compress: ({ buffer }) => compressFrame(buffer), decompress: decompressFrame });

const [brokers, prefix] = process.argv.slice(2);
const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.WARN });
const consumer = kafka.consumer({ groupId: `${prefix}.example-node` });

// Yours is a table of your database, written in the transaction in which the event has its effect.
const seen = new Set();

function handle({ message }) {
  // kafkajs has the headers as bytes, the binding wants text.
  const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, value.toString()]));
  const event = Binding.toEvent({ headers, key: message.key.toString(), value: message.value });
  event.validate();
  if (seen.has(event.id)) {
    console.log("again", event.id);
    return;
  }
  seen.add(event.id);
  // event.data is the decoded JSON, an object; event.type says what happened.
  console.log(JSON.stringify(event));
}

async function main() {
  await consumer.connect();
  await consumer.subscribe({ topics: ["participation", "campaign", "order"].map((kind) => `${prefix}.${kind}.v1`), fromBeginning: true });
  // The offset of a record is committed after its handler has returned.
  await consumer.run({ eachMessage: async (record) => handle(record) });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
