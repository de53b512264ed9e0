package main

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// line is a line of a history; checker/history.go explains it.
type line struct {
	Op          string `json:"op"`
	Client      int    `json:"client,omitempty"`
	Campaign    int64  `json:"campaign"`
	User        int64  `json:"user,omitempty"`
	Key         string `json:"key,omitempty"`
	Quantity    int64  `json:"quantity,omitempty"`
	Call        int64  `json:"call_ns,omitempty"`
	Return      int64  `json:"return_ns,omitempty"`
	Outcome     string `json:"outcome,omitempty"`
	ID          string `json:"id,omitempty"`
	Rank        int64  `json:"rank,omitempty"`
	Remaining   *int64 `json:"remaining,omitempty"`
	Status      string `json:"status,omitempty"`
	Units       int64  `json:"units,omitempty"`
	Rows        int    `json:"rows,omitempty"`
	Stock       *int64 `json:"stock,omitempty"`
	Limit       int64  `json:"limit,omitempty"`
	Max         int64  `json:"max,omitempty"`
	Cancellable bool   `json:"cancellable,omitempty"`
	Hold        int64  `json:"hold_ns,omitempty"`
	Lag         int64  `json:"lag_ns,omitempty"`
	Age         int64  `json:"age_ns,omitempty"`

	Unsettled [][2]int64 `json:"unsettled_ns,omitempty"`
}

// history writes each campaign at once, when it has ended, so that memory is bounded by the campaigns that run.
type history struct {
	mutex  sync.Mutex
	file   *bufio.Writer
	counts map[string]int
	total  int
}

func newHistory(to io.Writer) *history {
	return &history{file: bufio.NewWriterSize(to, 1<<20), counts: map[string]int{}}
}

func (history *history) write(lines []line) error {
	history.mutex.Lock()
	defer history.mutex.Unlock()
	encoder := json.NewEncoder(history.file)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return err
		}
		if line.Call != 0 {
			history.counts[strings.TrimSpace(line.Op+" "+line.Outcome)]++
			history.total++
		}
	}
	return history.file.Flush()
}

// missing returns what a run must have seen to show anything, and has not. Only campaigns that have ended count.
func (history *history) missing() (missing []string) {
	history.mutex.Lock()
	defer history.mutex.Unlock()
	for _, name := range []string{
		"participate accepted", "participate sold_out", "participate already", "participate limit",
		"participate conflict", "cancel done", "stock", "end",
	} {
		if history.counts[name] == 0 {
			missing = append(missing, name)
		}
	}
	return missing
}

// outcome is the word for the response to a participation; ok: whether the service may ever respond so.
func (answer response) outcome() (outcome string, ok bool) {
	switch {
	case answer.status == 201:
		return "accepted", !answer.isUnreadable && answer.ID != "" && answer.Rank > 0
	case answer.status == 409 && answer.Code == "SOLD_OUT":
		return "sold_out", true
	case answer.status == 409 && answer.Code == "ALREADY_PARTICIPATED":
		return "already", answer.ID != ""
	case answer.status == 409 && answer.Code == "LIMIT_EXCEEDED":
		return "limit", true
	case answer.status == 422 && answer.Code == "IDEMPOTENCY_KEY_REUSED":
		return "conflict", true
	}
	return answer.otherOutcome()
}

// cancelOutcome is the same for a cancellation.
func (answer response) cancelOutcome() (outcome string, ok bool) {
	switch {
	case answer.status == 200 && answer.Status == "cancelled":
		return "done", true
	case answer.status == 409 && answer.Code == "NOT_CANCELLABLE":
		return "not_cancellable", true
	}
	return answer.otherOutcome()
}

func (answer response) otherOutcome() (outcome string, ok bool) {
	switch {
	case answer.isUnreadable:
		return "unknown", false
	case answer.isRefused:
		return "nothing", true
	case answer.status == 429, answer.status == 503 && answer.Code == "BUSY":
		return "nothing", answer.retryAfter
	case answer.status == 0, answer.status == 503 && answer.retryAfter:
		return "unknown", true
	}
	return "unknown", false
}
