// The order of arrival and of processing.
import { useMemo, useState } from "preact/hooks";
import { get, query } from "../api";
import { Chart } from "../chart";
import { exactTime, measured, number } from "../format";
import { useGet } from "../live";
import { go } from "../router";
import type { OrderAnalysis, OrderViolation, Page } from "../types";
import { Empty, Figure, Loading, More, Notice, Refused, Section, Table, useAction } from "../ui";
import { t, word } from "../words";
import { CampaignSelect } from "./select";

/** Number of arrivals in the graph. */
const DRAWN = 100;

export function Order({ id }: { id: number | null }) {
  const analysis = useGet<OrderAnalysis>(id ? `/api/admin/stats/order-analysis/${id}?limit=${DRAWN}` : null);
  // One after the other: the service runs one such analysis at a time.
  const first = useGet<Page<OrderViolation>>(id && analysis.data ? `/api/admin/stats/order-violations/${id}?limit=50` : null);
  return (
    <>
      <h1>{t("nav.order")}</h1>
      <p class="lead">{t("order.lead")}</p>
      <form class="bar" onSubmit={(event) => event.preventDefault()}>
        <CampaignSelect id={id} onSelect={(next) => go(`#/order/${next}`)} />
        {id && <div class="buttons"><button type="button" onClick={analysis.again}>{t("stats.again")}</button></div>}
      </form>
      <Refused problem={analysis.problem} fields />
      {id && !analysis.data && !analysis.problem && <Loading />}
      {analysis.data && <Analysis data={analysis.data} />}
      {id && first.data && <Violations id={id} first={first.data} />}
    </>
  );
}

/** Ranks, and whether each was processed in order or before an earlier arrival. */
function drawn(items: OrderAnalysis["items"]): (number | null)[][] {
  let latest = 0;
  const early = items.map(({ processedAs }) => {
    const before = processedAs < latest;
    latest = Math.max(latest, processedAs);
    return before;
  });
  return [
    items.map((one) => one.rank),
    items.map((one, index) => (early[index] ? null : one.processedAs)),
    items.map((one, index) => (early[index] ? one.processedAs : null)),
  ];
}

function Analysis({ data }: { data: OrderAnalysis }) {
  const points = useMemo(() => drawn(data.items), [data]);
  if (data.participations === 0) return <Empty>{t("order.none")}</Empty>;
  return (
    <>
      <dl class="figures-row is-large">
        <Figure name={t("order.inOrder")}>{number(data.inOrder)}<span class="muted"> / {number(data.participations)}</span></Figure>
        <Figure name={t("order.arrival")} tone={data.arrivalViolations > 0 ? "warn" : undefined} note={data.violationRate}>{number(data.arrivalViolations)}</Figure>
        <Figure name={t("order.change")} tone={data.changeViolations > 0 ? "bad" : "good"}>{number(data.changeViolations)}</Figure>
        <Figure name={t("order.changes")} note={`${measured(data.queryTimeMs)} ms`}>{number(data.changes)}</Figure>
      </dl>
      {data.changeViolations > 0 && <Notice tone="bad"><p>{t("order.broken")}</p></Notice>}
      {data.purgedEvents > 0 && <Notice tone="info"><p>{t("order.purged", { n: number(data.purgedEvents) })}</p></Notice>}
      {data.nextCursor && <Notice tone="info"><p>{t("order.more", { n: number(data.lastRank ?? 0) })}</p></Notice>}
      <Section title={t("order.graph", { n: number(data.items.length) })}>
        <Chart label={t("order.graphSaid")} over="numbers" height={260} at={(rank) => number(rank)} data={points}
          series={[
            { name: t("order.processedAs"), color: "--series-a", points: true, unit: (value) => number(value) },
            { name: t("order.before"), color: "--series-c", points: true, unit: (value) => number(value) },
          ]} />
        <p class="hint">{t("order.graphHint")}</p>
      </Section>
    </>
  );
}

function Violations({ id, first }: { id: number; first: Page<OrderViolation> }) {
  const [rest, setRest] = useState<Page<OrderViolation> | null>(null);
  const { problem, run } = useAction();
  const items = [...first.items, ...(rest?.items ?? [])];
  const cursor = rest ? rest.nextCursor : first.nextCursor;
  const more = () => run(async () => {
    const page = await get<Page<OrderViolation>>(`/api/admin/stats/order-violations/${id}${query({ limit: 50, cursor })}`);
    setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], nextCursor: page.nextCursor }));
  });
  const head = (
    <>
      <th scope="col">{t("order.kind")}</th><th scope="col" class="number">{t("rank")}</th><th scope="col">{t("order.processedAt")}</th>
      <th scope="col" class="number">{t("order.earlier")}</th><th scope="col">{t("order.processedAt")}</th>
    </>
  );
  return (
    <Section title={t("order.violations")}>
      {items.length === 0 ? <Empty>{t("order.noViolations")}</Empty> : (
        <Table caption={t("order.violations")} head={head}>
          {items.map((one) => (
            <tr key={one.change.eventId}>
              <th scope="row">{word(`violation.${one.kind}`, one.kind)}</th>
              <td class="number">{number(one.change.rank)}</td><td class="muted">{exactTime(one.change.processedAt)}</td>
              <td class="number">{number(one.after.rank)}</td><td class="muted">{exactTime(one.after.processedAt)}</td>
            </tr>
          ))}
        </Table>
      )}
      <Refused problem={problem} />
      <More cursor={cursor} onMore={more} />
    </Section>
  );
}
