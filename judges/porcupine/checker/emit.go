package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

func (resolver *resolver) emit(client int, call, back int64, one *operation) {
	one.campaign, one.rows = resolver.campaign, resolver.sorted
	resolver.history = append(resolver.history, porcupine.Operation{
		ClientId: client, Input: one, Call: call, Return: max(call, back),
	})
}

func (resolver *resolver) emitRows() {
	for _, row := range resolver.sorted {
		one := &operation{kind: commit, row: row, key: row.key, user: row.user}
		client := 0
		for _, cause := range row.causes {
			if cause.Call <= row.latest {
				one.lastAttempt = max(one.lastAttempt, cause.Call)
			}
			if cause.Outcome == accepted && cause.Return == row.latest {
				one.line, row.said, client = cause, cause, cause.Client
			}
		}
		resolver.addHeld(one, row.earliest, row.latest, nil)
		resolver.emit(client, row.earliest, row.latest, one)
		if row.isReturned {
			one := &operation{kind: giveUp, row: row, isUnasked: !row.isAsked}
			resolver.emit(0, row.giveUpCall, row.giveUpReturn, one)
		}
	}
}

func (resolver *resolver) emitResponses() {
	campaign := resolver.campaign
	for nth := range campaign.Requests {
		line := &campaign.Requests[nth]
		one := &operation{line: line, user: resolver.user(line.User), key: resolver.key(line)}
		switch line.Outcome {
		case accepted:
			one.kind, one.row = replay, resolver.rows[line.ID]
			if line == one.row.said {
				continue // the commit checks this response
			}
		case soldOut, limited, already, conflict:
			one.kind, one.row = refusal, resolver.rows[line.ID]
			resolver.addHeld(one, line.Call, line.Return, line)
		case window, nothing, unknown:
			continue
		default:
			one.kind = refusal // no rule has this outcome, so the model refuses it
		}
		resolver.emit(line.Client, line.Call, line.Return, one)
	}
	for nth := range campaign.Cancels {
		line := &campaign.Cancels[nth]
		one := &operation{kind: cancelled, line: line, row: resolver.rows[line.ID]}
		switch line.Outcome {
		case done:
			if one.row == nil {
				one.kind = refusal // of a participation that never was
			}
		case notCancellable:
			if !campaign.Cancellable {
				continue
			}
			one.kind = refusal
		default:
			continue
		}
		resolver.emit(line.Client, line.Call, line.Return, one)
	}
	for nth := range campaign.Stocks {
		line := &campaign.Stocks[nth]
		one := &operation{kind: reading, line: line}
		one.least, one.most = resolver.possibleStock(line)
		resolver.emit(line.Client, line.Call, line.Return, one)
	}
	end := &campaign.End
	resolver.emit(0, end.Call, end.Return, &operation{kind: last, line: end})
}

// addHeld finds what the gate may have counted, between a call and its return, beside what is committed. `line` is the
// request itself, if it is a refused one.
func (resolver *resolver) addHeld(one *operation, call, back int64, line *Line) {
	campaign := resolver.campaign
	add := func(ghost *Line, until int64) {
		if ghost != line && ghost != one.line && ghost.Call <= back && until >= call {
			one.ghosts += ghost.Quantity
			if resolver.user(ghost.User) == one.user {
				one.ghostsOfUser += ghost.Quantity
			}
		}
	}
	for _, ghost := range resolver.undone {
		add(ghost, ghost.Return+campaign.Hold)
	}
	for _, ghost := range resolver.repeated {
		add(ghost, ghost.Return+campaign.Lag)
	}
	if campaign.isUnsettled(call, back) {
		for nth := range campaign.Requests {
			if ghost := &campaign.Requests[nth]; ghost.Outcome != unknown && ghost.Outcome != nothing {
				add(ghost, ghost.Return)
			}
		}
	}
	for _, row := range resolver.sorted {
		if row.isReturned && row.giveUpCall <= back && row.giveUpReturn+campaign.Lag >= call {
			one.lagging = append(one.lagging, row)
		}
	}
}

// isUnsettled is whether a gate may be rebuilt in this time.
func (campaign *Campaign) isUnsettled(call, back int64) bool {
	for _, time := range campaign.Unsettled {
		if time[0] <= back && call <= time[1] {
			return true
		}
	}
	return false
}

// possibleStock is the range of numbers that a reading of the stock may give.
func (resolver *resolver) possibleStock(line *Line) (least, most int64) {
	if resolver.campaign.Stock == nil {
		return 0, 0
	}
	least, most = *resolver.campaign.Stock, *resolver.campaign.Stock
	seen := line.Call - resolver.campaign.Age
	for _, row := range resolver.sorted {
		canBeReturned := row.isReturned && row.giveUpCall <= line.Return
		isReturned := row.isReturned && row.giveUpReturn < seen
		isAccepted := row.latest < line.Call && row.isAcceptedBefore(line.Call) || row.latest < seen
		if row.earliest <= line.Return && !isReturned {
			least -= row.Quantity
		}
		if isAccepted && !canBeReturned {
			most -= row.Quantity
		}
	}
	return least, most
}

// isAcceptedBefore is whether a response that accepts it has come before.
func (row *row) isAcceptedBefore(call int64) bool {
	for _, cause := range row.causes {
		if cause.Outcome == accepted && cause.Return < call {
			return true
		}
	}
	return false
}

// String describes an operation for people.
func (one *operation) String() string {
	switch one.kind {
	case commit:
		is := ""
		if one.row.isPhantom {
			is = ", which nobody asked for"
		}
		remaining := "?"
		if one.row.Remaining != nil {
			remaining = fmt.Sprint(*one.row.Remaining)
		}
		return fmt.Sprintf("user %d takes %d: rank %d, %s left, key %d%s",
			one.row.User, one.row.Quantity, one.row.Rank, remaining, one.key, is)
	case giveUp:
		return fmt.Sprintf("user %d returns %d of rank %d", one.row.User, one.row.Quantity, one.row.Rank)
	case replay:
		return fmt.Sprintf("user %d again: rank %d", one.line.User, one.line.Rank)
	case reading:
		return fmt.Sprintf("stock -> %d, may be %d to %d", one.line.Units, one.least, one.most)
	case last:
		return fmt.Sprintf("read all -> %d participations", one.line.Rows)
	}
	return fmt.Sprintf("%s of user %d for %d, key %d -> %s; held %d, of the user %d",
		one.line.Op, one.line.User, one.line.Quantity, one.key, one.line.Outcome, one.ghosts, one.ghostsOfUser)
}
