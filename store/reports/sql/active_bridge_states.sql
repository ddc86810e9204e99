-- active_bridge_states: bridges at work by node type (null: not told) and state, the most frequent first;
-- by idx_bridge_states_active.   out: one group a row (JSON), how many groups there are
select jsonb_build_object('node_type', node_type, 'state', current_fsm_state, 'count', count(*)), count(*) over ()
from bridge_states
where current_fsm_state::text not in ('IDLE', 'COMPLETED')
group by node_type, current_fsm_state
order by count(*) desc, node_type, current_fsm_state
limit 1000
