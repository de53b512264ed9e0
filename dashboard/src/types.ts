// The responses of the API, as in openapi/openapi.json.

export type Kind = "coupon" | "points" | "time_deal" | "general";
export type State = "draft" | "scheduled" | "open" | "paused" | "closed" | "archived";
export type Status = "reserved" | "confirmed" | "cancelled" | "expired";

export interface Page<T> { items: T[]; nextCursor: string | null }

export interface Coupon {
  discountAmount: number;
  minimumOrderAmount: number;
  validFrom: string | null;
  validUntil: string | null;
}
export interface Reward { points?: number; coupon?: Coupon }

export interface Campaign {
  id: number; name: string; description: string; kind: Kind; state: State;
  totalStock: number | null; currentStock: number | null;
  perUserLimit: number; maxQuantity: number; price: number | null; holdSeconds: number;
  opensAt: string | null; closesAt: string | null; reward: Reward | null;
  cancellable: boolean; createdAt: string;
}

export interface LiveStatus {
  campaignId: number; campaignName: string; state: State; available: boolean; totalStock: number | null; currentStock: number | null;
  successCount: number; failCount: number; stockUsageRate: string; failures: Record<string, number>;
  funnel: { admitted: number; committed: number; published: number; rewarded: number };
  lastFiveSeconds: { tps: number; avgLatencyMs: number; processed: number; scope: "installation" | "replica" };
}

export interface System {
  at: string;
  outbox: { pending: number; retry: number; blocked: number; dead: number; oldestAgeSeconds: number | null };
  replicas: { owner: string; buckets: number[]; leaseSeconds: number; here: boolean }[];
  breakers: { name: string; state: "closed" | "open" | "probing" }[];
  parts: { name: string; status: "up" | "down" }[];
}

export interface Participation {
  participationId: string; campaignId: number; userId: number; quantity: number; rank: number;
  status: Status; remaining: number | null; amount?: number; expiresAt?: string; createdAt?: string;
  reward?: { points?: number; coupons?: { id: string; status: string }[]; reversed: boolean } | null;
  rewardedAt?: string | null;
}

export interface Rewards {
  userId: number; points: number;
  ledger: Page<{ kind: "granted" | "reversed"; amount: number; participationId: string; campaignId: number; createdAt: string }>;
  coupons: {
    id: string; code: string; status: "issued" | "used" | "revoked"; discountAmount: number;
    minimumOrderAmount: number; validUntil: string | null; campaignId: number;
  }[];
}

export interface Summary {
  campaignCount: number; successCount: number; failCount: number; totalCount: number; successRate: string;
  units: number; unitsStanding: number; byStatus: Record<Status, number>; failures: Record<string, number>;
}
export interface CampaignOfDay extends Omit<Summary, "campaignCount"> {
  campaignId: number; campaignName: string; date: string;
  firstAt: string | null; lastAt: string | null; hours: number[];
}
export interface DayStatistics {
  date: string; zone: string; method: "RAW_QUERY" | "BATCH_AGGREGATED"; queryTimeMs: number;
  aggregatedAt: string | null; complete: boolean; summary: Summary; campaigns: CampaignOfDay[];
}
export interface CampaignStatistics {
  campaignId: number; campaignName: string; startDate: string; endDate: string; zone: string;
  queryTimeMs: number; summary: Summary; days: CampaignOfDay[]; missingDates: string[];
}

export interface OrderAnalysis {
  campaignId: number; campaignName: string; queryTimeMs: number; firstRank: number | null; lastRank: number | null;
  changes: number; participations: number; inOrder: number; arrivalViolations: number; changeViolations: number;
  violationRate: string; purgedEvents: number;
  items: { rank: number; processedAs: number; eventId: string; processedAt: string }[];
  nextCursor: string | null;
}
export interface OrderViolation {
  kind: "arrival" | "change";
  change: { rank: number; sequence: number; eventId: string; processedAt: string };
  after: { rank: number; sequence: number; eventId: string; processedAt: string };
}

export interface Run {
  jobExecutionId: number; date: string; zone: string; status: "STARTED" | "COMPLETED" | "FAILED";
  cause: "schedule" | "catch_up" | "admin"; startedAt: string; finishedAt: string | null;
  progress: { percent: number; participations: number; campaigns: number; campaignsDone: number; campaignsFailed: number };
  failures: { campaignId: number; code: string }[]; error: string | null;
}

export type DeadLetterSource = "relay" | "consumer:points" | "consumer:coupons";
export interface DeadLetter {
  eventId: string; source: DeadLetterSource; campaignId: number | null; key: string | null; eventType: string; payload: string | null; attempts: number;
  errorClass: string; error: string; parkedAt: string; copiedAt: string | null;
}
export interface Moved { matched: number; changed: number; dryRun: boolean }

export interface Simulation {
  jobId: string; kind: "bulk" | "async" | "sync"; status: "STARTED" | "COMPLETED" | "CANCELLED" | "FAILED";
  campaignId: number; requests: number; done: number; concurrency: number; quantity: number; firstUserId: number;
  startedAt: string; endedAt: string | null;
  result: {
    latencyMs: { p50: number; p95: number; p99: number; avg: number; min: number; max: number };
    requestsPerSecond: number; failureRate: number; outcomes: Record<string, number>; durationMs: number;
  };
}

export interface AuditEntry {
  id: number; at: string; actor: string; action: string; campaignId: number | null; subject: string | null;
  before: unknown; after: unknown; requestId: string | null; address: string | null;
}
