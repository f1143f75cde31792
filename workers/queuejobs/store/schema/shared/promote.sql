-- Takes the eta off jobs whose time has come: from now on they compete as if they had had none. Returns how many
-- these were, at most p_limit.
create function promote(p_limit integer) returns integer language plpgsql as $$
declare
    v_promoted integer;
begin
    with due as (
        select id from @jobs@
         where state = 'pending' and eta is not null and eta <= queuemaster.utc_now()
         order by eta limit p_limit for no key update skip locked)
    update @jobs@ job set eta = null from due where job.id = due.id;
    get diagnostics v_promoted = row_count;
    return v_promoted;
end $$;
