// The live view of a campaign.
import { useMemo, useState } from "preact/hooks";
import { download, post } from "../api";
import { Chart, Legend } from "../chart";
import { clock, dateTime, measured, millis, number, percent, stock, time } from "../format";
import { useGet, useNow, useStream, type Tick, type Watching } from "../live";
import { useAdmin } from "../session";
import type { Campaign, LiveStatus } from "../types";
import { Confirm, Counts, Loading, Notice, Pill, Refused, Section, useAction } from "../ui";
import { t, word } from "../words";
import { rewardText } from "./campaigns";
import { SystemPanel } from "./system";

type Move = "open" | "pause" | "close" | "archive" | "rebuild-gate";
/** The possible actions in each state of a campaign. */
const MOVES: Record<string, Move[]> = {
  draft: ["open", "archive"], scheduled: ["open", "pause", "close"], open: ["pause", "close"],
  paused: ["open", "close"], closed: ["archive"], archived: [],
};
const ASKS: Move[] = ["close", "archive", "rebuild-gate"];

export function Monitor({ id }: { id: number }) {
  const admin = useAdmin(["campaign:read"]);
  const campaign = useGet<Campaign>(`/api/${admin ? "admin/" : ""}campaigns/${id}`, 2000);
  const watching = useStream(id);
  if (!campaign.data) return <><h1>#{id}</h1>{campaign.problem ? <Refused problem={campaign.problem} /> : <Loading />}</>;
  const one = campaign.data;
  return (
    <>
      <Head campaign={one} admin={admin} again={campaign.again} />
      {one.state === "draft"
        ? <Notice tone="info"><p>{t("live.draft")}</p></Notice>
        : <Live campaign={one} watching={watching} />}
      {admin
        ? <SystemPanel />
        : <p class="empty">{t("live.systemNeedsToken")}</p>}
    </>
  );
}

function Head({ campaign, admin, again }: { campaign: Campaign; admin: boolean; again: () => void }) {
  const { busy, problem, run } = useAction();
  const writes = useAdmin(["campaign:write"]);
  const exports = useAdmin(["campaign:read", "pii:read"]);
  const [asking, setAsking] = useState<Move | null>(null);
  const [said, setSaid] = useState("");
  const move = async (action: Move) => {
    const answer = await post<{ epoch?: number }>(`/api/admin/campaigns/${campaign.id}/${action}`);
    setSaid(action === "rebuild-gate" ? t("move.rebuilt", { n: number(answer.epoch ?? 0) }) : "");
    again();
  };
  const save = () => run(() => download(`/api/admin/campaigns/${campaign.id}/participations.csv`, `campaign-${campaign.id}-participations.csv`));
  const moves = [...(MOVES[campaign.state] ?? []), ...(campaign.state === "archived" ? [] : (["rebuild-gate"] as const))];
  return (
    <>
      <div class="head monitor-head">
        <div>
          <p class="crumb"><a href="#/campaigns">{t("nav.campaigns")}</a> <span aria-hidden="true">/</span> {campaign.id}</p>
          <h1>{campaign.name} <Pill state={campaign.state} /></h1>
        </div>
        <div class="aside">
          <a class="button" href={`#/try/${campaign.id}`}>{t("nav.try")}</a>
          {writes && (
            <>
              {moves.map((action) => (
                <button key={action} disabled={busy} onClick={() => (ASKS.includes(action) ? setAsking(action) : run(() => move(action)))}>{t(`move.${action}`)}</button>
              ))}
              {campaign.state !== "archived" && <a class="button" href={`#/campaigns/${campaign.id}/edit`}>{t("move.edit")}</a>}
            </>
          )}
          {exports && <button disabled={busy} onClick={save}>CSV</button>}
        </div>
      </div>
      <Refused problem={problem} fields />
      {said && <Notice tone="good"><p>{said}</p></Notice>}
      <Terms campaign={campaign} admin={admin} />
      {asking && (
        <Confirm title={t(`move.${asking}`)} yes={t(`move.${asking}`)} danger={asking !== "rebuild-gate"} onYes={() => move(asking)} onClose={() => setAsking(null)}>
          <p>{t(`move.${asking}.ask`, { name: campaign.name })}</p>
        </Confirm>
      )}
    </>
  );
}

function Terms({ campaign, admin }: { campaign: Campaign; admin: boolean }) {
  const terms: [string, string][] = [[t("campaign.kind"), word(`kind.${campaign.kind}`, campaign.kind)]];
  if (campaign.reward) terms.push([t("campaign.reward"), rewardText(campaign.reward)]);
  terms.push([t("campaign.perUserLimit"), number(campaign.perUserLimit)]);
  if (campaign.maxQuantity > 1) terms.push([t("campaign.maxQuantity"), number(campaign.maxQuantity)]);
  if (campaign.price) terms.push([t("campaign.price"), number(campaign.price)], [t("campaign.holdSeconds"), number(campaign.holdSeconds)]);
  if (campaign.opensAt) terms.push([t("campaign.opensAt"), dateTime(campaign.opensAt)]);
  if (campaign.closesAt) terms.push([t("campaign.closesAt"), dateTime(campaign.closesAt)]);
  return (
    <div class="terms">
      {campaign.description && <p>{campaign.description}</p>}
      <dl>{terms.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      {admin && (
        <p class="links">
          <a href={`#/statistics/campaign/${campaign.id}`}>{t("stats.byDay")}</a>
          <a href={`#/order/${campaign.id}`}>{t("nav.order")}</a>
          <a href={`#/audit?campaign=${campaign.id}`}>{t("nav.audit")}</a>
          <a href={`#/load-test?campaign=${campaign.id}`}>{t("nav.loadTest")}</a>
        </p>
      )}
    </div>
  );
}

function Live({ campaign, watching }: { campaign: Campaign; watching: Watching }) {
  const { status, ticks, connected } = watching;
  if (!status) return <Loading />;
  return (
    <>
      <Stock campaign={campaign} status={status} connected={connected} />
      <div class="grid two">
        <Throughput ticks={ticks} status={status} />
        <Latency ticks={ticks} status={status} />
        <Funnel status={status} />
        <Section title={t("live.refusals")} aside={<b class="tabular">{number(status.failCount)}</b>}>
          <Counts counts={status.failures} label={t("live.refusals")} empty={t("live.noRefusals")} />
        </Section>
      </div>
    </>
  );
}

/** The remaining units, as the largest figure of the page. */
function Stock({ campaign, status, connected }: { campaign: Campaign; status: LiveStatus; connected: boolean }) {
  const now = useNow(250);
  const { totalStock: total, currentStock: left } = status;
  const taken = total === null || left === null ? 0 : total === 0 ? 1 : (total - left) / total;
  const opens = campaign.opensAt ? new Date(campaign.opensAt).getTime() - now : 0;
  const closes = campaign.closesAt ? new Date(campaign.closesAt).getTime() - now : 0;
  const waiting = campaign.state === "scheduled" && opens > 0;
  const closing = closes > 0 && (campaign.state === "open" || campaign.state === "paused");
  return (
    <section class={`stock ${left === 0 ? "is-out" : ""}`} aria-label={t("live.stock")}>
      <div class="figures">
        <p class="left"><b data-testid="left">{stock(left)}</b> <span>{left === 0 ? t("soldOut") : total === null ? t("live.unlimited") : t("live.leftOf", { n: number(total) })}</span></p>
        {waiting && <p class="count"><b>{clock(opens)}</b> <span>{t("live.untilOpen")}</span></p>}
        {closing && <p class="count"><b>{clock(closes)}</b> <span>{t("live.untilClose")}</span></p>}
        <p class="count"><b data-testid="participations">{number(status.successCount)}</b> <span>{t("live.participations")}</span></p>
        <p class={`beat ${connected ? "is-on" : ""}`} role="status"><i aria-hidden="true" />{connected ? t("live.on") : t("live.off")}</p>
      </div>
      {total !== null && (
        <div class="band" role="img" aria-label={t("live.takenShare", { share: percent(taken) })}>
          <span style={{ width: `${taken * 100}%` }} />
          <em style={{ left: `${taken * 100}%` }} class={taken > 0.5 ? "is-inside" : ""}>{percent(taken)}</em>
        </div>
      )}
    </section>
  );
}

const perSecond = (value: number) => `${measured(value)}/s`;

function Throughput({ ticks, status }: { ticks: Tick[]; status: LiveStatus }) {
  const data = useMemo(() => [ticks.map((tick) => tick.at), ticks.map((tick) => tick.decided), ticks.map((tick) => tick.committed)], [ticks]);
  const last = ticks[ticks.length - 1];
  const decided = status.lastFiveSeconds.tps;
  return (
    <Section title={t("live.throughput")} aside={<Legend items={[
      { name: t("live.decided"), color: "--series-a", value: perSecond(decided) },
      { name: t("live.committed"), color: "--series-b", value: perSecond(last?.committed ?? 0) },
    ]} />}>
      <Chart label={t("live.throughputSaid", { a: perSecond(decided), b: perSecond(last?.committed ?? 0) })} data={data} over="time" span={60}
        at={(at) => time(new Date(at * 1000))}
        series={[{ name: t("live.decided"), color: "--series-a", fill: true, unit: perSecond }, { name: t("live.committed"), color: "--series-b", unit: perSecond }]} />
    </Section>
  );
}

function Latency({ ticks, status }: { ticks: Tick[]; status: LiveStatus }) {
  const data = useMemo(() => [ticks.map((tick) => tick.at), ticks.map((tick) => tick.latency)], [ticks]);
  const { processed, avgLatencyMs } = status.lastFiveSeconds;
  const now = processed > 0 ? millis(avgLatencyMs) : "–";
  return (
    <Section title={t("live.latency")} aside={<Legend items={[{ name: t("live.latencyOf"), color: "--series-c", value: now }]} />}>
      <Chart label={t("live.latencySaid", { a: now })} data={data} over="time" span={60} at={(at) => time(new Date(at * 1000))}
        series={[{ name: t("live.latency"), color: "--series-c", fill: true, unit: millis }]} />
    </Section>
  );
}

const STAGES = ["admitted", "committed", "published", "rewarded"] as const;

function Funnel({ status }: { status: LiveStatus }) {
  const all = Math.max(status.funnel.admitted, 1);
  return (
    <Section title={t("live.funnel")}>
      <table class="funnel">
        <caption class="hidden">{t("live.funnel")}</caption>
        <tbody>
          {STAGES.map((stage, index) => {
            const count = status.funnel[stage];
            const previous = STAGES[index - 1];
            const behind = previous ? status.funnel[previous] - count : 0;
            return (
              <tr key={stage}>
                <th scope="row" title={t(`funnel.${stage}.hint`)}>{t(`funnel.${stage}`)}</th>
                <td class="bar" aria-hidden="true"><span class={`stage-${index}`} style={{ width: `${(count / all) * 100}%` }} /></td>
                <td class="number" data-testid={stage}><b>{number(count)}</b></td>
                <td class="number behind">{behind > 0 ? `−${number(behind)}` : ""}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <p class="hint">{t("funnel.hint")}</p>
    </Section>
  );
}

