-- transition_failures: moves to FAILED by the state that they came from (null: a first move), the most frequent first;
-- by idx_fsm_transitions_to_state.   in: within interval, first_id and last_id (of moves: days.py), rows_limit (groups)   out: one group a row (JSON), how many groups there are
select jsonb_build_object(
  'from_state', from_state, 'to_state', 'FAILED', 'failure_count', count(*), 'last_failure_at', max(transition_at)),
  count(*) over ()
from fsm_transitions
where to_state = 'FAILED' and transition_at > now() - %(within)s::interval
  and id between %(first_id)s::uuid and %(last_id)s::uuid
group by from_state
order by count(*) desc, from_state
limit %(rows_limit)s::integer
