package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Outcomes of a participation.
const (
	accepted = "accepted" // 201, with id, rank and what remains
	soldOut  = "sold_out" // 409 SOLD_OUT
	already  = "already"  // 409 ALREADY_PARTICIPATED, with the id of the first participation
	limited  = "limit"    // 409 LIMIT_EXCEEDED
	conflict = "conflict" // 422 IDEMPOTENCY_KEY_REUSED
	window   = "window"   // refused because of the campaign's window, which is not modelled
	nothing  = "nothing"  // certainly without effect: 429, 503 BUSY, connection refused
	unknown  = "unknown"  // no response, or any other 5xx: it may have happened, or may still happen
)

// Outcomes of a cancellation; also nothing and unknown.
const (
	done           = "done"            // 200, cancelled
	notCancellable = "not_cancellable" // 409 NOT_CANCELLABLE
)

// Line is a line of a history. The lines of a campaign begin with the campaign itself and end with `end`, whose call
// and return are those of the last reading of all its participations; each of these is a `row`, before `end`. Lines of
// several campaigns may alternate. Times are nanoseconds of one monotonic clock.
type Line struct {
	Op       string `json:"op"` // campaign, participate, cancel, stock, row, end
	Client   int    `json:"client,omitempty"`
	Campaign int64  `json:"campaign"`
	User     int64  `json:"user,omitempty"`
	Key      string `json:"key,omitempty"`
	Quantity int64  `json:"quantity,omitempty"`
	Call     int64  `json:"call_ns,omitempty"`
	Return   int64  `json:"return_ns,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
	ID       string `json:"id,omitempty"`
	Rank     int64  `json:"rank,omitempty"`
	// Of a participation: the units left after it; none: unlimited, or not recorded.
	Remaining *int64 `json:"remaining,omitempty"`
	// Of a row: confirmed, cancelled, …
	Status string `json:"status,omitempty"`
	// Of a reading of the stock: the units left.
	Units int64 `json:"units,omitempty"`
	// Of an end: the number of rows.
	Rows int `json:"rows,omitempty"`

	// Of a campaign. Stock: none is unlimited.
	Stock       *int64 `json:"stock,omitempty"`
	Limit       int64  `json:"limit,omitempty"`
	Max         int64  `json:"max,omitempty"`
	Cancellable bool   `json:"cancellable,omitempty"`
	// For how long after its response a request without a known outcome may hold units in the gate: a lease, a sweep,
	// and the age of a replica's copy of "sold out".
	Hold int64 `json:"hold_ns,omitempty"`
	// For how long after its response a cancellation may be unknown to the gate, or to such a copy.
	Lag int64 `json:"lag_ns,omitempty"`
	// How old a reading of the stock may be.
	Age int64 `json:"age_ns,omitempty"`
	// When a gate may be rebuilt while requests are in progress: from, until. Then any request may hold units twice until
	// its response: its first admission is void, and it is admitted again.
	Unsettled [][2]int64 `json:"unsettled_ns,omitempty"`
}

// Campaign is the history of one campaign.
type Campaign struct {
	Line
	Requests []Line // participations
	Cancels  []Line
	Stocks   []Line
	Listed   []Line // rows
	End      Line
}

// Operations counts what clients asked for, the last reading included.
func (campaign *Campaign) Operations() int {
	return len(campaign.Requests) + len(campaign.Cancels) + len(campaign.Stocks) + 1
}

// Read reads a history and passes each campaign on when its end is read, so that only open campaigns are in memory.
func Read(from io.Reader, pass func(*Campaign) error) error {
	open := map[int64]*Campaign{}
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 1<<16), 1<<20)
	for number := 1; lines.Scan(); number++ {
		var line Line
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		campaign := open[line.Campaign]
		if (campaign == nil) != (line.Op == "campaign") {
			return fmt.Errorf("line %d: campaign %d is unknown, or given twice", number, line.Campaign)
		}
		if line.Op == "campaign" {
			open[line.Campaign] = &Campaign{Line: line}
			continue
		}
		if err := campaign.add(line); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if line.Op == "end" {
			delete(open, line.Campaign)
			if err := pass(campaign); err != nil {
				return err
			}
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d campaigns have no end: the history is cut off", len(open))
	}
	return lines.Err()
}

func (campaign *Campaign) add(line Line) error {
	isCall := line.Op == "participate" || line.Op == "cancel" || line.Op == "stock" || line.Op == "end"
	if isCall && line.Return < line.Call {
		return fmt.Errorf("%s returns before its call", line.Op)
	}
	switch line.Op {
	case "participate":
		campaign.Requests = append(campaign.Requests, line)
	case "cancel":
		campaign.Cancels = append(campaign.Cancels, line)
	case "stock":
		campaign.Stocks = append(campaign.Stocks, line)
	case "row":
		campaign.Listed = append(campaign.Listed, line)
	case "end":
		if line.Rows != len(campaign.Listed) {
			return fmt.Errorf("campaign %d has %d rows of %d", line.Campaign, len(campaign.Listed), line.Rows)
		}
		campaign.End = line
	default:
		return fmt.Errorf("unknown operation %q", line.Op)
	}
	return nil
}

// Write writes a campaign as Read reads it.
func (campaign *Campaign) Write(to io.Writer) error {
	head := campaign.Line
	head.Op = "campaign"
	encoder := json.NewEncoder(to)
	for _, lines := range [][]Line{
		{head}, campaign.Requests, campaign.Cancels, campaign.Stocks, campaign.Listed, {campaign.End},
	} {
		for _, line := range lines {
			if err := encoder.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}
