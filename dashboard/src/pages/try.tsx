// The page for participants: participate, see the rank, pay or cancel, and see the rewards.
import { useEffect, useRef, useState } from "preact/hooks";
import { get, post, Problem } from "../api";
import { clock, dateTime, number, stock, time } from "../format";
import { useGet, useNow, type Asked } from "../live";
import { go } from "../router";
import { about, login, useWatched } from "../session";
import type { Campaign, Page, Participation, Rewards } from "../types";
import { Counts, Empty, Field, Notice, Pill, Refused, Section, StockBar, Table, useAction } from "../ui";
import { fieldProblem, problemText, t, word } from "../words";
import { CampaignSelect } from "./select";

/** Users of this page have large ids, different from those of real users. */
const someUser = (): number => 1_000_000 + Math.floor(Math.random() * 1_000_000_000);
const CROWD = 200;
/** Concurrent requests: as many as a browser has connections. */
const LANES = 5;

export function Try({ id }: { id: number | null }) {
  const [user, setUser] = useState(String(someUser()));
  const [bearer, setBearer] = useState("");
  const account = useWatched(login);
  const jwt = about.auth === "jwt";
  const session = about.auth === "sessions";
  // With a log-in only the cookie authenticates.
  const as = session ? (account ? "" : null) : jwt ? (bearer ? `Bearer ${bearer}` : null) : user.trim() || null;
  const who = session ? String(account?.userId ?? "") : user.trim();
  return (
    <>
      <h1>{t("nav.try")}</h1>
      <p class="lead">{t(session ? "try.leadSession" : jwt ? "try.leadJwt" : "try.lead")}</p>
      <form class="bar" onSubmit={(event) => event.preventDefault()}>
        <CampaignSelect id={id} onSelect={(next) => go(`#/try/${next}`)} />
        <Field name="userId" label={t("try.user")}>
          {(input) => <input {...input} inputMode="numeric" readOnly={session} value={session ? who : user} onInput={(event) => setUser(event.currentTarget.value)} autocomplete="off" />}
        </Field>
        {session ? null : jwt
          ? <Field name="bearer" label={t("try.token")}>{(input) => <input {...input} type="password" autocomplete="off" value={bearer} onInput={(event) => setBearer(event.currentTarget.value.trim())} />}</Field>
          : <div class="buttons"><button type="button" onClick={() => setUser(String(someUser()))}>{t("try.other")}</button></div>}
      </form>
      {id !== null && <Counter key={`${id}/${who}`} id={id} user={who} as={as} />}
    </>
  );
}

function Counter({ id, user, as }: { id: number; user: string; as: string | null }) {
  const campaign = useGet<Campaign>(`/api/campaigns/${id}`, 1000);
  const [mine, setMine] = useState<Participation | null>(null);
  const [quantity, setQuantity] = useState("1");
  const { busy, problem, run } = useAction();
  const history = useMine<Page<Participation>>(`/api/users/${user}/participations?limit=20`, user, as);
  const rewards = useMine<Rewards>(`/api/users/${user}/rewards?limit=20`, user, as);
  const refresh = () => { history.again(); rewards.again(); };
  const join = (event: Event) => {
    event.preventDefault();
    void run(async () => {
      setMine(await post<Participation>(`/api/campaigns/${id}/participation`, { quantity: Number(quantity) }, { as }));
      campaign.again();
      refresh();
    });
  };
  const current = mine && (history.data?.items.find((one) => one.participationId === mine.participationId) ?? mine);
  const one = campaign.data;
  return (
    <>
      <Refused problem={campaign.problem} />
      {one && (
        <div class="counter">
          <div>
            <h2>{one.name} <Pill state={one.state} /></h2>
            {one.description && <p class="muted">{one.description}</p>}
            <p class="line"><b class="tabular">{stock(one.currentStock)}</b> {one.currentStock === 0 ? t("soldOut") : t("campaign.left")} <StockBar total={one.totalStock} left={one.currentStock} label={t("campaign.left")} /></p>
            <form class="bar" onSubmit={join}>
              {one.maxQuantity > 1 && (
                <Field name="quantity" label={t("quantity")} problem={problem}>
                  {(input) => <input {...input} type="number" min={1} max={one.maxQuantity} value={quantity} onInput={(event) => setQuantity(event.currentTarget.value)} />}
                </Field>
              )}
              <div class="buttons"><button class="primary large" disabled={busy || as === null}>{t("try.join")}</button><a class="button" href={`#/campaigns/${id}`}>{t("load.watch")}</a></div>
            </form>
            {problem && <NotThisTime problem={problem} />}
          </div>
          {current && <Ticket participation={current} campaign={one} as={as} onChange={(next) => { setMine(next); refresh(); }} />}
        </div>
      )}
      {one && about.auth === "trusted" && <Crowd id={id} onDone={() => campaign.again()} />}
      {/* Not before what stands above it, which would push it down. */}
      {(one || campaign.problem) && <Mine history={history} rewards={rewards} as={as} onChange={refresh} />}
    </>
  );
}

/** Requests as the participant, not as the admin, who may see more. */
function useMine<T>(path: string, user: string, as: string | null): Asked<T> {
  const [data, setData] = useState<T | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const round = useRef<() => Promise<void>>(async () => undefined);
  useEffect(() => {
    const stop = new AbortController();
    const asking = async () => {
      if (as === null || !/^\d+$/.test(user) || document.hidden) return;
      try {
        const answer = await get<T>(path, { as, signal: stop.signal });
        if (!stop.signal.aborted) { setData(answer); setProblem(null); }
      } catch (error) {
        if (stop.signal.aborted) return;
        if (!(error instanceof Problem)) throw error;
        setProblem(error);
      }
    };
    round.current = asking;
    void asking();
    const timer = setInterval(asking, 1500);
    return () => { stop.abort(); clearInterval(timer); };
  }, [path, as]);
  return { data, problem, again: () => round.current() };
}

/** A rejection is a result, not a failure. */
function NotThisTime({ problem }: { problem: Problem }) {
  const opens = problem.members["opensAt"];
  return (
    <Notice tone={problem.status === 409 ? "warn" : "bad"}>
      <p>{problemText(problem)} <code>{problem.code}</code></p>
      {typeof opens === "string" && <p>{t("campaign.opensAt")}: {dateTime(opens)}</p>}
      {problem.errors.map((error) => <p key={error.field}><code>{error.field}</code> {fieldProblem(error.problem)}</p>)}
    </Notice>
  );
}

function Ticket({ participation, campaign, as, onChange }: { participation: Participation; campaign: Campaign; as: string | null; onChange: (next: Participation) => void }) {
  const { rank, status, expiresAt, amount, reward, participationId } = participation;
  return (
    <div class="ticket" role="status">
      <p class="rank"><small>{t("try.rank")}</small><b data-testid="rank">{number(rank)}</b></p>
      <p><Pill state={status} /> {status === "reserved" && expiresAt && <Left until={expiresAt} />}</p>
      {amount !== undefined && <p>{t("try.amount", { n: number(amount) })}</p>}
      {reward && <p class="good">{rewardLine(reward)}</p>}
      {!reward && status === "confirmed" && campaign.reward && <p class="muted">{t("try.rewardComes")}</p>}
      <Changes participation={participation} cancellable={campaign.cancellable} as={as} onChange={onChange} />
      <p class="muted"><code>{participationId}</code></p>
    </div>
  );
}

function rewardLine(reward: NonNullable<Participation["reward"]>): string {
  const what = reward.points !== undefined ? t("reward.points", { n: number(reward.points) }) : t("try.coupons", { n: number(reward.coupons?.length ?? 0) });
  return reward.reversed ? `${what} (${t("try.reversed")})` : what;
}

function Left({ until }: { until: string }) {
  const now = useNow(250);
  return <b class="tabular">{clock(Date.parse(until) - now)}</b>;
}

/** Pays or cancels, if possible. */
function Changes({ participation: { participationId: id, status }, cancellable, as, onChange }: { participation: Participation; cancellable: boolean; as: string | null; onChange: (next: Participation) => void }) {
  const { busy, problem, run } = useAction();
  const change = (what: "confirm" | "cancel") => run(async () => { onChange(await post<Participation>(`/api/participations/${id}/${what}`, {}, { as })); });
  const canCancel = status === "reserved" || (status === "confirmed" && cancellable);
  if (!canCancel && !problem) return null;
  return (
    <>
      <div class="buttons">
        {status === "reserved" && <button class="primary" disabled={busy} onClick={() => change("confirm")}>{t("try.pay")}</button>}
        {canCancel && <button disabled={busy} onClick={() => change("cancel")}>{t("try.cancel")}</button>}
      </div>
      <Refused problem={problem} fields />
    </>
  );
}

/** Many other participants at once, from this browser, for a demonstration. */
function Crowd({ id, onDone }: { id: number; onDone: () => void }) {
  const [outcomes, setOutcomes] = useState<Record<string, number> | null>(null);
  const [busy, setBusy] = useState(false);
  const begin = async () => {
    setBusy(true);
    const counts: Record<string, number> = {};
    setOutcomes({});
    let left = CROWD;
    const lane = async () => {
      while (left-- > 0) {
        let code = "ACCEPTED";
        try { await post(`/api/campaigns/${id}/participation`, {}, { as: String(someUser()) }); }
        catch (error) {
          if (!(error instanceof Problem)) throw error;
          code = error.code;
        }
        counts[code] = (counts[code] ?? 0) + 1;
        setOutcomes({ ...counts });
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    setBusy(false);
    onDone();
  };
  return (
    <Section title={t("try.crowd")} aside={<button disabled={busy} onClick={begin}>{t("try.crowdSend", { n: number(CROWD) })}</button>}>
      {outcomes ? <Counts counts={outcomes} of={CROWD} label={t("try.crowd")} empty="…" /> : <p class="hint">{t("try.crowdHint")}</p>}
    </Section>
  );
}

function Mine({ history, rewards, as, onChange }: { history: Asked<Page<Participation>>; rewards: Asked<Rewards>; as: string | null; onChange: () => void }) {
  const head = (
    <>
      <th scope="col" class="number">{t("campaign.number")}</th><th scope="col" class="number">{t("rank")}</th><th scope="col">{t("campaign.state")}</th>
      <th scope="col">{t("campaign.reward")}</th><th scope="col">{t("try.when")}</th><th scope="col">{t("try.what")}</th>
    </>
  );
  return (
    <div class="grid two">
      <Section title={t("try.history")}>
        <Refused problem={history.problem} />
        {history.data && (history.data.items.length === 0 ? <Empty>{t("try.noHistory")}</Empty> : (
          <Table caption={t("try.history")} head={head}>
            {history.data.items.map((one) => (
              <tr key={one.participationId}>
                <td class="number"><a href={`#/campaigns/${one.campaignId}`}>{one.campaignId}</a></td><td class="number">{number(one.rank)}</td>
                <td><Pill state={one.status} /></td><td>{one.reward ? rewardLine(one.reward) : "–"}</td>
                <td class="muted">{one.createdAt && time(one.createdAt)}</td>
                <td>{one.status === "reserved" ? <Changes participation={one} cancellable={false} as={as} onChange={onChange} /> : ""}</td>
              </tr>
            ))}
          </Table>
        ))}
      </Section>
      <Section title={t("try.rewards")} aside={rewards.data && <b data-testid="points">{t("reward.points", { n: number(rewards.data.points) })}</b>}>
        {rewards.problem && rewards.problem.code === "REWARDS_OFF" ? <Empty>{t("try.rewardsOff")}</Empty> : <Refused problem={rewards.problem} />}
        {rewards.data && rewards.data.ledger.items.length === 0 && rewards.data.coupons.length === 0 && <Empty>{t("try.noRewards")}</Empty>}
        {rewards.data && (
          <ul class="ledger">
            {rewards.data.ledger.items.map((one) => <li key={`${one.participationId}${one.kind}`}><b>{one.amount > 0 ? "+" : ""}{number(one.amount)}</b> {word(`ledger.${one.kind}`, one.kind)} <span class="muted">{time(one.createdAt)}</span></li>)}
            {rewards.data.coupons.map((one) => <li key={one.id}><code>{one.code}</code> −{number(one.discountAmount)} <Pill state={one.status} /></li>)}
          </ul>
        )}
      </Section>
    </div>
  );
}
