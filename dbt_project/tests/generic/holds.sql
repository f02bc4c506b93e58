{# The condition, in SQL, is false in no row; where it is null, as for a value that is missing, it holds. #}
{% test holds(model, column_name, condition) %}
select *
from {{ model }}
where not ({{ condition }})
{% endtest %}
