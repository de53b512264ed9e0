// Every text of the dashboard, in English and in Korean, side by side so that none is forgotten.
import type { FieldProblem, Problem } from "./api";
import { language } from "./session";
import { WORDS } from "./vocabulary";

export type Key = keyof typeof WORDS;

/** A text in the selected language, with its {placeholders} filled. */
export function t(key: Key, gaps: Record<string, string | number> = {}): string {
  const [en, ko] = WORDS[key];
  const text = language.value === "ko" ? ko : en;
  return text.replace(/\{(\w+)\}/g, (_, gap: string) => String(gaps[gap] ?? ""));
}

/** The text for a word of the API, or the word itself: a later service may know others. */
export function word(key: string, otherwise: string): string {
  return key in WORDS ? t(key as Key) : otherwise;
}

/** The text of an error. The service sends it in English; the code selects the translation. */
export function problemText(problem: Problem): string {
  const scope = problem.members["scope"];
  if (problem.code === "MISSING_SCOPE" && typeof scope === "string") return t("scope.missing", { scope });
  return language.value === "en" && problem.status !== 0 ? problem.detail : word(`code.${problem.code}`, problem.detail);
}

// The service's texts about fields, by pattern.
const FIELDS: [RegExp, string][] = [
  [/^is missing$/, "필수 항목입니다"],
  [/^must not be null$/, "비워 둘 수 없습니다"],
  [/^must be an integer$/, "정수여야 합니다"],
  [/^must be a string$/, "문자열이어야 합니다"],
  [/^must be between the years (\d+) and (\d+)$/, "$1년에서 $2년 사이여야 합니다"],
  [/^must be between (\S+) and (\S+)$/, "$1 이상 $2 이하여야 합니다"],
  [/^must have (\d+) to (\d+) characters$/, "$1자 이상 $2자 이하여야 합니다"],
  [/^must be a time in RFC 3339.*$/, "올바른 시각이어야 합니다"],
  [/^must be after opensAt$/, "시작 시각보다 늦어야 합니다"],
  [/^must not be before validFrom$/, "사용 시작 시각보다 빠를 수 없습니다"],
  [/^must not be before startDate$/, "시작일보다 빠를 수 없습니다"],
  [/^must not exceed perUserLimit$/, "1인당 한도를 넘을 수 없습니다"],
  [/^must not be below what is committed.*$/, "이미 확정된 수량보다 적을 수 없습니다"],
  [/^must be in the future.*$/, "미래의 시각이어야 합니다"],
  [/^must be one of (.+)$/, "다음 중 하나여야 합니다: $1"],
  [/^must be a UUID.*$/, "UUID여야 합니다"],
  [/^must have exactly one of points and coupon$/, "포인트와 쿠폰 중 하나만 정해야 합니다"],
  [/^is not the IANA name of a time zone.*$/, "IANA 시간대 이름이 아닙니다 (예: Asia/Seoul)"],
];

export function fieldProblem(problem: FieldProblem["problem"]): string {
  if (language.value === "en") return problem;
  for (const [said, korean] of FIELDS) {
    if (said.test(problem)) return problem.replace(said, korean);
  }
  return problem;
}
